"""Each quality and repetition rule: a text that breaks it, and good prose that breaks none."""

import pytest

from diffutron.text.filters import drop_leftover_lines, quality_reason, repetition_reason

PROSE = (
    "Sabahın erken saatlerinde balıkçılar limana döndü ve ağlarını kıyıya serdi. Çocuklar bu "
    "manzarayı her gün izlerdi, çünkü teknelerin dönüşü onlar için bir bayram gibiydi. Kasabanın "
    "fırını da aynı saatte açılır, taze ekmek kokusu bütün sokaklara yayılırdı. Yaşlılar ise "
    "çınarın altında oturup eski günleri anlatır, gençler ne kadar dinlerse o kadar sevinirdi."
)
WORDS = PROSE.split()


@pytest.fixture
def quality(make_params):
    return make_params().corpus.quality


@pytest.fixture
def repetition(make_params):
    return make_params().corpus.repetition


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (PROSE, None),
        ("Geldi.", None),
        ('" Yani çok karmakarışık . "', None),
        ("118 26 2012 6335 39 12", "letters"),
        ("", "letters"),
        (PROSE + " \ufffd", "broken_text"),
        ("Lorem ipsum dolor sit amet.", "broken_text"),
        ("a b c d e " * 10, "word_length"),
        ("uluslararasılaştırılamayabilenler " * 25, "word_length"),
        ("#etiket #gündem #haber bir iki üç " * 6, "symbols"),
        ("\n".join(f"- {line}" for line in PROSE.split(". ")), "bullets"),
        ("\n".join(f"{line}..." for line in PROSE.split(". ")), "ellipses"),
        ("Kazanan Listesi: " + " ".join(f"Ahmet{n} Yılmaz" for n in range(40)), "function_words"),
    ],
)
def test_quality_rules(text, rule, quality):
    assert quality_reason(text, quality) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (PROSE, None),
        ("evet evet evet", None),  # too short to be judged
        ("\n".join(["Bu satır hep aynı biçimde yeniden gelir."] * 9 + [PROSE]), "duplicate_lines"),
        (" ".join(f"{word} son dakika" for word in WORDS), "top_2gram"),
        (" ".join(f"{word} çok önemli son dakika haberi" for word in WORDS[:12]), "top_2gram"),
        (f"{PROSE} {PROSE}", "duplicate_ngrams"),
    ],
)
def test_repetition_rules(text, rule, repetition):
    assert repetition_reason(text, repetition) == rule


def test_top_share_is_the_naive_share(repetition):
    """The commonest trigram's share of the characters, counted by hand."""
    filler = [f"kelime{n}" for n in range(60)]
    text = filler + ["bakan", "dün", "açıkladı"] * 9
    shares = repetition.model_copy(update={"max_top_ngram": (1.0, 0.1, 1.0)})
    characters = sum(map(len, text))
    assert 9 * len("bakandünaçıkladı") / characters > 0.1
    assert repetition_reason(" ".join(text), shares) == "top_3gram"
    assert repetition_reason(" ".join(filler + text[60:63]), shares) is None


def test_leftover_lines_go_and_sentences_about_them_stay():
    text = f"{PROSE}\nTüm hakları saklıdır.\nDevamı için tıklayın"
    assert drop_leftover_lines(text) == PROSE
    long = "Bakanlık yeni çerez politikası hakkında hazırladığı uzun raporu dün kamuoyuyla bir kez "
    text = f"{PROSE}\n{long} daha paylaştı."
    assert drop_leftover_lines(text) == text
    assert drop_leftover_lines("Tüm hakları saklıdır.") == "Tüm hakları saklıdır."
