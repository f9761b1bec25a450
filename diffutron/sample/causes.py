"""Causes and their effects in daily life, in many written forms."""

from dataclasses import dataclass
from random import Random

from diffutron.sample.lexicon import NAMES
from diffutron.sample.phrases import phrase, reason
from diffutron.text.turkish import turkish_capitalize, word_list

# Field one: a theme. Pairs of one theme could explain each other, so they never meet as choices.
_PAIRS = """
yemek = kahvaltı ye! = çok acık
koşu = çok hızlı koş = çok yorul
soğuk = palto:my.acc unut = çok üşü
uyku = gece uyu! = ders:loc uyu
sınav = çok ders çalış = sınav:acc kazan
sınav = hiç ders çalış! = sınav:loc kal
soğuk = şemsiye:my.acc unut = yağmur:loc ıslan
koşu = buz:loc hızlı yürü = yol:loc düş
bıçak = bıçak:ins oyna = parmak:my.acc kes
ağız = çok sıcak çay iç = ağız:my.acc yak
yemek = bozuk yumurta ye = çok hastalan
deniz = deniz:loc çok kal = güneş:loc yan
ağız = çok tuz ye = çok susa
kapı = anahtar:my.acc unut = kapı:acc aç!
haber = komik şaka dinle = çok gül
haber = kötü haber al = çok ağla
ödül = büyük ödül kazan = çok sevin
ödül = yarış:acc kazan = madalya tak
para = çok para biriktir = yeni araba al
çamur = çamur:loc oyna = gömlek:my.acc yıka
hata = büyük hata yap = özür dile
ceza = hızlı araba sür = ceza öde
ev = misafir bekle = ev:acc temizle
korku = köpek:abl kork = hızlı kaç
telefon = telefon:my.acc kır = yeni telefon al
orman = doğru yol:acc bil! = orman:loc kaybol
geç = otobüs:acc kaçır = iş:dat geç kal
ilaç = ilaç:my.acc iç = hemen iyileş
ev = vazo:acc düşür = oda:acc topla
film = film:acc hiç sev! = sinema:abl çık
uyku = saat:my.acc kur! = geç uyan
müzik = müzik:acc çok sev = gitar öğren
misafir = arkadaş:my.acc çok özle = mektup yaz
"""

TENSES = ("past", "narrative")
PEOPLE = ("3sg", "1sg")
TIMES = word_list("dün bugün sabah akşam cuma cumartesi pazartesi")
ADVERBS = ("o gün", "yine", "gerçekten", "galiba", "sanırım", "ilk kez", "ister istemez")


@dataclass(frozen=True)
class Pair:
    """A cause and its effect, written as phrases; pairs of one theme never compete."""

    theme: str
    cause: str
    effect: str


@dataclass(frozen=True)
class Telling:
    """Who and when a pair is told of: `subject` is a name, or empty for ben."""

    subject: str
    person: str
    tense: str
    time: str


PAIRS = tuple(
    Pair(*(part.strip() for part in line.split("="))) for line in _PAIRS.strip().splitlines()
)


def random_telling(rng: Random) -> Telling:
    """Draw person, tense and time."""
    person, tense = rng.choice(PEOPLE), rng.choice(TENSES)
    return Telling(rng.choice(NAMES) if person == "3sg" else "", person, tense, rng.choice(TIMES))


def premise(spec: str, telling: Telling) -> str:
    """Return the first sentence: who, when, what."""
    words = phrase(spec, telling.tense, telling.person)
    return turkish_capitalize(f"{telling.subject} {telling.time} {words}.".strip())


def continuation(spec: str, telling: Telling, adverb: str = "") -> str:
    """Return what goes on about the same subject, without naming it and without a full stop."""
    return f"{adverb} {phrase(spec, telling.tense, telling.person)}".strip()


def told(rng: Random, pair: Pair) -> list[str]:
    """Return one or two sentences that tell cause and effect."""
    telling, adverb = random_telling(rng), rng.choice(ADVERBS)
    cause, effect = premise(pair.cause, telling), premise(pair.effect, telling)
    later = continuation(pair.effect, telling, adverb)
    earlier = continuation(pair.cause, telling, adverb)
    form = rng.randrange(4)
    if form == 0:
        return [cause, f"Bu yüzden {later}."]
    if form == 1:
        return [f"{cause[:-1]}, bu yüzden {later}."]
    if form == 2:
        return [f"{effect[:-1]}, çünkü {earlier}."]
    because = reason(pair.cause, telling.person)
    return [turkish_capitalize(f"{telling.subject} {because} {later}.".strip())]
