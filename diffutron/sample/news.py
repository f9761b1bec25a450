"""Short news of five topics, in regular sentences of who, when, where, what."""

from random import Random

from diffutron.sample.lexicon import noun
from diffutron.sample.morphology import noun_form
from diffutron.sample.phrases import phrase
from diffutron.text.turkish import turkish_capitalize, word_list

# topic: people, places, deeds.
_TOPICS = {
    "spor": (
        "hakem kaleci antrenör futbolcu yüzücü voleybolcu takım",
        "maç turnuva lig stadyum antrenman sezon",
        "gol at|sayı kazan|penaltı kaçır|kupa:acc kazan|rekor kır|forma tanıt|maç:acc kaybet",
    ),
    "magazin": (
        "manken şarkıcı oyuncu sunucu yönetmen yapımcı ünlü",
        "gala konser sahne defile nişan düğün",
        "albüm tanıt|dizi izle|klip izle|moda:acc anlat|kostüm giy|rol iste|magazin:dat konuş",
    ),
    "siyaset": (
        "başbakan bakan milletvekili vali elçi muhalefet parti",
        "meclis miting seçim senato kampanya belediye",
        "yasa:acc savun|oy iste|tasarı:acc eleştir|bütçe:acc açıkla|anlaşma imzala|"
        "yasa:acc onayla|seçim:acc kazan",
    ),
    "sağlık": (
        "uzman cerrah hekim hasta doktor hemşire eczacı",
        "klinik ameliyat muayene laboratuvar hastane eczane",
        "aşı geliştir|virüs:acc incele|tedavi:acc uygula|vitamin öner|diyet öner|"
        "tahlil iste|şurup ver",
    ),
    "ekonomi": (
        "şirket yatırımcı bankacı tüccar holding banka ihracatçı",
        "borsa piyasa sanayi fabrika pazar ofis",
        "hisse sat|faiz:acc artır|vergi öde|kredi kullan|dolar al|tahvil sat|zam açıkla",
    ),
}
TOPICS = {
    topic: (tuple(people.split()), tuple(places.split()), tuple(deeds.split("|")))
    for topic, (people, places, deeds) in _TOPICS.items()
}
LABELS = {"spor": "sport", "magazin": "magazine", "siyaset": "politics", "sağlık": "health",
          "ekonomi": "economy"}  # fmt: skip
TIMES = word_list("dün bugün sabah akşam salı cuma cumartesi")


def news_sentence(rng: Random, topic: str) -> str:
    """Return one sentence of the topic."""
    people, places, deeds = TOPICS[topic]
    person, place, deed = rng.choice(people), rng.choice(places), rng.choice(deeds)
    tense = rng.choice(("past", "past", "narrative", "future"))
    time = rng.choice(("yarın", *TIMES[1:])) if tense == "future" else rng.choice(TIMES)
    where = noun_form(noun(place), "loc")
    return turkish_capitalize(f"{time} {where} {person} {phrase(deed, tense)}.")
