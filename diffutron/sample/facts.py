"""Common knowledge as relations, each asked and told in several wordings.

A fact's wordings have different content words, so `partition.side` gives some of them to training
and some to evaluation: what an exam asks was learned in other words.
"""

from dataclasses import dataclass
from functools import cache

from diffutron.sample.lexicon import ADJECTIVES, COUNTRIES, noun, nouns_of
from diffutron.sample.morphology import copula, noun_form
from diffutron.sample.wordings import WORDINGS
from diffutron.text.turkish import turkish_capitalize


@dataclass(frozen=True)
class Relation:
    """Subjects with their answers; questions and statements with slots for inflected forms."""

    name: str
    answers: dict[str, str]
    questions: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One subject of a relation and its answer."""

    relation: str
    subject: str
    answer: str


_COLORS = """sarı: limon muz kayısı güneş mısır bal; kırmızı: domates çilek kiraz kan gül; yeşil:
salatalık ıspanak marul yaprak kurbağa çimen; turuncu: portakal havuç kaplan; mor: patlıcan lavanta
menekşe; beyaz: kar süt tuz un pamuk pirinç; siyah: kömür karga gece; kahverengi: toprak çikolata
kestane; gri: fil fare duman; mavi: deniz gökyüzü göl"""
_WORKPLACES = """okul: öğretmen öğrenci; hastane: doktor hemşire cerrah; tarla: çiftçi; lokanta:
garson aşçı; eczane: eczacı; banka: bankacı; stadyum: hakem kaleci; bahçe: bahçıvan; fabrika: işçi
mühendis; mahkeme: avukat; gemi: kaptan; uçak: pilot; meclis: bakan; sahne: şarkıcı"""
_MATERIALS = """cam: bardak pencere ayna; ahşap: masa sandalye dolap kapı; metal: kaşık çatal bıçak
anahtar; kumaş: gömlek perde elbise etek; deri: ayakkabı kemer çanta; yün: kazak atkı eldiven
battaniye"""
_SEASONS = """kış: aralık ocak şubat; ilkbahar: mart nisan mayıs; yaz: haziran temmuz ağustos;
sonbahar: eylül ekim kasım"""
_HABITATS = """deniz: balık balina yunus; ahır: inek koyun at; orman: ayı kurt tilki geyik; çöl:
deve akrep yılan; göl: kurbağa ördek kuğu; ev: kedi köpek"""
_KINDS = """hayvan: kedi köpek at inek koyun keçi tavuk kuş balık aslan fil ayı kurt yılan tilki;
meyve: elma armut muz üzüm kiraz çilek limon portakal karpuz erik; sebze: domates biber patlıcan
havuç soğan patates ıspanak kabak; meslek: öğretmen doktor hemşire aşçı çiftçi pilot garson terzi
avukat mühendis; taşıt: otobüs tren uçak gemi bisiklet araba vapur taksi; giysi: gömlek pantolon
ceket palto elbise etek çorap şapka; mobilya: masa sandalye koltuk dolap yatak raf; çalgı: gitar
piyano keman flüt davul saz"""


def _table(text: str) -> dict[str, str]:
    groups = (group.split(":") for group in text.split(";"))
    return {subject: answer.strip() for answer, subjects in groups for subject in subjects.split()}


def _following(kind: str) -> dict[str, str]:
    names = nouns_of(kind)
    return {name: names[(i + 1) % len(names)] for i, name in enumerate(names)}


def _answers() -> dict[str, dict[str, str]]:
    """Return subject and answer of every fact, by relation."""
    countries = {name: value.split() for name, value in COUNTRIES.items()}
    opposites = list(zip(ADJECTIVES[:44:2], ADJECTIVES[1:44:2], strict=True))
    return {
        "renk": _table(_COLORS),
        "tür": _table(_KINDS),
        "başkent": {name: capital for name, (capital, _) in countries.items() if capital != name},
        "kıta": {name: continent for name, (_, continent) in countries.items()},
        "iş yeri": _table(_WORKPLACES),
        "malzeme": _table(_MATERIALS),
        "mevsim": _table(_SEASONS),
        "yaşam yeri": _table(_HABITATS),
        "karşıt": dict(opposites) | {b: a for a, b in opposites},
        "sonraki ay": _following("ay_adı"),
        "sonraki gün": _following("gün_adı"),
    }


@cache
def relations() -> dict[str, Relation]:
    """Return every relation by name."""
    written = {name: [part.splitlines() for part in parts] for name, parts in WORDINGS.items()}
    return {
        name: Relation(name, answers, tuple(written[name][0]), tuple(written[name][1]))
        for name, answers in _answers().items()
    }


@cache
def facts() -> tuple[Fact, ...]:
    """Return every fact."""
    return tuple(Fact(r.name, s, a) for r in relations().values() for s, a in r.answers.items())


def _inflected(word: str) -> dict[str, str]:
    try:
        lexeme = noun(word)
    except KeyError:  # an adjective: its wordings use no case
        return dict.fromkeys(("gen", "acc", "loc", "abl"), word)
    return {case: noun_form(lexeme, case) for case in ("gen", "acc", "loc", "abl")}


def _write(wording: str, fact: Fact) -> str:
    subject, answer = _inflected(fact.subject), _inflected(fact.answer)
    told = copula(fact.answer)
    if fact.answer[0].isupper():
        told = f"{fact.answer}'{told[len(fact.answer) :]}"
    slots = {"s": fact.subject, "a": fact.answer, "a_dir": told}
    slots |= subject | {f"a_{case}": form for case, form in answer.items()}
    slots |= {turkish_capitalize(key): turkish_capitalize(value) for key, value in slots.items()}
    return wording.format(**slots)


@cache
def questions(fact: Fact) -> tuple[str, ...]:
    """Return every wording of the question that asks for the fact's answer."""
    return tuple(_write(w, fact) for w in relations()[fact.relation].questions)


@cache
def statements(fact: Fact) -> tuple[str, ...]:
    """Return every sentence that tells the fact."""
    return tuple(_write(w, fact) for w in relations()[fact.relation].statements)
