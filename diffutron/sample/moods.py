"""Good and bad events, sincere and mocking remarks: ironic when the two do not fit.

Mostly praise of a bad event is ironic, sometimes blame of a good one. Every event and every remark
stands in ironic and in sincere sentences, so no single word decides.
"""

from random import Random

from diffutron.sample.phrases import phrase
from diffutron.text.turkish import turkish_capitalize, word_list

BAD = """otobüs:acc kaçır|tren:acc kaçır|telefon:my.acc düşür|anahtar:my.acc kaybet|
para:my.acc kaybet|sınav:loc kal|ders:abl kal|yağmur:loc ıslan|yemek:acc yak|yol:loc düş|
iş:dat geç kal|vazo:acc kır|el:my.acc kes|maç:acc kaybet|ceza öde|grip ol|şemsiye:my.acc unut|
çamur:loc kay|yol:my.acc kaybet""".replace("\n", "").split("|")
GOOD = """sınav:acc kazan|ödül kazan|yarış:acc kazan|maç:acc kazan|madalya kazan|yeni iş bul|
yeni ev al|yeni araba al|tatil:dat çık|deniz:loc yüz|bahçe:loc dinlen|güzel film izle|
arkadaş:my.ins buluş|konser:dat git|festival:dat git|para:my.acc bul|
anahtar:my.acc bul|sınav:acc geç|güzel haber al|yeni bisiklet al""".replace("\n", "").split("|")

TIMES = word_list(
    "dün bugün sabah akşam gece öğlen pazartesi salı çarşamba perşembe cuma cumartesi"
)
PRAISE = """ne güzel oldu|harika bir gün|çok sevindim|ne büyük şans|bu beni mutlu etti|
ne hoş bir gün|çok mutlu oldum|bayıldım buna""".replace("\n", "").split("|")
BLAME = """ne kötü oldu|berbat bir gün|çok üzüldüm|ne büyük şanssızlık|bu beni mutsuz etti|
ne zor bir gün|çok mutsuz oldum|kızdım buna""".replace("\n", "").split("|")


def _event(rng: Random, good: bool) -> str:
    spec = rng.choice(GOOD if good else BAD)
    return f"{rng.choice(TIMES)} {phrase(spec, 'past', '1sg')}"


def remark_sentence(rng: Random, *, ironic: bool) -> str:
    """Return one sentence, event and remark; they fit unless `ironic`."""
    good = rng.random() < (0.2 if ironic else 0.5)
    remark = rng.choice(PRAISE if good != ironic else BLAME)
    return turkish_capitalize(f"{_event(rng, good)}, {remark}.")


def diary_lines(rng: Random) -> list[str]:
    """Return an event and a fitting remark, as one sentence or as two."""
    good = rng.random() < 0.5
    event, remark = _event(rng, good), rng.choice(PRAISE if good else BLAME)
    if rng.random() < 0.5:
        return [turkish_capitalize(f"{event}, {remark}.")]
    return [turkish_capitalize(event) + ".", turkish_capitalize(remark) + "."]
