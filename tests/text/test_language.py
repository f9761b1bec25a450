"""Turkish stays, its neighbors and English go, short texts are not judged."""

import pytest

from diffutron.text.language import in_kept_language


@pytest.fixture
def rules(make_params):
    return make_params({"corpus.language.kept": ["tr"]}).corpus.language


@pytest.mark.parametrize(
    "text",
    [
        "Dün akşam komşumuzun bahçesinde büyük bir kutlama vardı.",
        "KALİTELİ BİR HİZMET VARDI VE HERKES ÇOK İLGİLİYDİ",
        "Tom bana pis pis güldü.",
        "Yağmur dindikten sonra çocuklar sokağa çıktı, top oynadılar ve akşam ezanına kadar eve "
        "dönmediler; anneleri onları pencereden seyretti.",
    ],
)
def test_turkish_is_kept(text, rules):
    assert in_kept_language(text, rules)


@pytest.mark.parametrize(
    "text",
    [
        "The committee will publish its findings before the end of the year.",
        "Bu kitab Azərbaycan dilində yazılmışdır və oxucular tərəfindən çox sevilir.",
        "Bu kitob oʻzbek tilida yozilgan va oʻquvchilar tomonidan juda yaxshi koʻriladi.",
        "Bu kitap türkmen dilinde ýazyldy we okyjylar tarapyndan gowy görülýär.",
        "Der Ausschuss wird seine Ergebnisse noch vor Ende des Jahres vorlegen.",
    ],
)
def test_other_languages_are_not(text, rules):
    assert not in_kept_language(text, rules)


def test_short_texts_and_an_empty_list_judge_nothing(rules, make_params):
    assert in_kept_language("Good morning everyone", rules)
    off = make_params({"corpus.language.kept": []}).corpus.language
    assert in_kept_language("The committee will publish its findings this year.", off)
