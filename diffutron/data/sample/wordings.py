"""The wordings in which each relation of `facts` is asked and told, one a line.

Slots: s = subject, a = answer, with a case (gen, acc, abl, a_loc, a_abl) or the copula (a_dir);
a capital letter starts a sentence.
"""

WORDINGS: dict[str, tuple[str, str]] = {
    "renk": (
        """{S} hangi renktir?
{Gen} rengi nedir?
{S} ne renk olur?
{S} hangi renkte görünür?
Hangi renk {gen} rengidir?
{S} renk olarak nasıldır?""",
        """{S} {a} renklidir.
{Gen} rengi {a_dir}.
{S} {a} renkte görünür.
{S} için renk {a_dir}.
Bizim {s} {a} renktedir.""",
    ),
    "tür": (
        """{S} hangi türe girer?
{Gen} türü nedir?
{S} ne türden sayılır?
{S} hangi grubun üyesidir?
Hangi tür {acc} içerir?""",
        """{S} bir {a_dir}.
{S} bir {a} türüdür.
{S} {a} sayılır.
{Gen} türü {a_dir}.
{S} {a} grubundadır.""",
    ),
    "başkent": (
        """{Gen} başkenti neresidir?
{Gen} başkenti hangi şehirdir?
Hangi şehir {gen} başkentidir?
{S} hangi şehirden yönetilir?
{S} ülkesinin başkenti nedir?
{Gen} yönetildiği şehir neresidir?""",
        """{Gen} başkenti {a_dir}.
{A} {gen} başkentidir.
{S} {a_abl} yönetilir.
{S} ülkesinin başkenti {a_dir}.
{A} şehri {gen} başkentidir.
{Gen} en önemli şehri {a_dir}.
Haritada {gen} başkenti {a} görünür.""",
    ),
    "kıta": (
        """{S} hangi kıtadadır?
{Gen} bulunduğu kıta nedir?
{S} hangi kıtada yer alır?
{Gen} kıtası hangisidir?
Hangi kıta {acc} içerir?
{S} ülkesi hangi kıtadadır?""",
        """{S} {a} kıtasındadır.
{S} {a} kıtasında yer alır.
{Gen} kıtası {a_dir}.
{S} bir {a} ülkesidir.
{A} kıtası {acc} içerir.""",
    ),
    "iş yeri": (
        """{Gen} iş yeri neresidir?
{Gen} çalıştığı yer neresidir?
{S} için çalışma yeri neresidir?
Hangi yer {gen} iş yeridir?
{Gen} görev yeri neresidir?
{S} nerenin çalışanıdır?""",
        """{S} {a_loc} çalışır.
{Gen} iş yeri {a_dir}.
{Acc} {a_loc} görürüz.
{Gen} çalıştığı yer {a_dir}.
{Gen} görev yeri {a} olur.
{S} ile {a} birlikte düşünülür.""",
    ),
    "malzeme": (
        """{Gen} malzemesi nedir?
{S} hangi malzemeden olur?
{Gen} yapıldığı malzeme nedir?
{S} için hangi malzeme gerekir?
{S} hangi maddeden yapılır?""",
        """{S} {a_abl} yapılır.
{Gen} malzemesi {a_dir}.
{S} için {a} gerekir.
{S} yapımında {a} kullanılır.
{Gen} yapıldığı malzeme {a_dir}.""",
    ),
    "mevsim": (
        """{S} ayı hangi mevsimdedir?
{S} ayının mevsimi nedir?
{S} hangi mevsimin ayıdır?
{S} ayı hangi mevsime girer?
{S} ayında hangi mevsim yaşanır?""",
        """{S} bir {a} ayıdır.
{S} ayında {a} yaşanır.
{S} ayının mevsimi {a_dir}.
{S} ayı {a} mevsimindedir.""",
    ),
    "yaşam yeri": (
        """{Gen} yaşadığı yer neresidir?
{S} nerenin hayvanıdır?
{Gen} yuvası neresidir?
{Gen} yaşam yeri neresidir?
{Acc} bulduğumuz yer neresidir?""",
        """{S} {a_loc} yaşar.
{Gen} yuvası {a_dir}.
{S} bir {a} hayvanıdır.
{Gen} yaşadığı yer {a_dir}.
{Acc} {a_loc} buluruz.
{S} için yuva {a} olur.""",
    ),
    "karşıt": (
        """{S} sözcüğünün karşıtı nedir?
{S} sözcüğünün karşıt anlamlısı nedir?
{S} hangi sözcüğün karşıtıdır?
Anlamca {s} sözcüğünün tersi nedir?
{S} sözcüğünün tersi nedir?""",
        """{S} sözcüğünün karşıtı {a_dir}.
{S} ile {a} karşıt anlamlıdır.""",
    ),
    "sonraki ay": (
        """{Abl} sonra hangi ay gelir?
{Abl} sonraki ay hangisidir?
{Acc} hangi ay izler?
{S} bitince hangi ay başlar?
{S} ayından sonra ne gelir?""",
        """{Abl} sonra {a} gelir.
{Acc} {a} izler.
{S} bitince {a} başlar.""",
    ),
    "sonraki gün": (
        """{Abl} sonra hangi gün gelir?
{Abl} sonraki gün hangisidir?
{Acc} hangi gün izler?
{S} bitince hangi gün başlar?
{S} gününden sonra ne gelir?""",
        """{Abl} sonraki gün {a_dir}.
{Acc} izleyen gün {a_dir}.""",
    ),
}
