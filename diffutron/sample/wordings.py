"""The wordings in which each relation of `facts` is asked and told, one a line.

Slots: s = subject, a = answer, with a case (gen, acc, abl, a_loc, a_abl) or the copula (a_dir);
a capital letter starts a sentence. Subjects stand inside the sentence, as in most of the text.
"""

WORDINGS: dict[str, tuple[str, str]] = {
    "renk": (
        """Acaba {s} hangi renktir?
Peki {gen} rengi nedir?
Sence {s} ne renk olur?
Doğada {s} hangi renkte görünür?
Hangi renk {gen} rengidir?
Genellikle {gen} doğal rengi nedir?
Renk olarak {s} nasıldır?""",
        """Genellikle {s} {a} renklidir.
Doğada {gen} rengi {a_dir}.
Bizim {s} {a} renktedir.
Her {s} için doğal renk {a_dir}.
Çoğu {s} {a} renkte görünür.""",
    ),
    "tür": (
        """Acaba {s} hangi türe girer?
Peki {gen} türü nedir?
Sence {s} ne türden sayılır?
Hangi grup {acc} içerir?
Genellikle {s} hangi grubun üyesidir?
Tür olarak {s} nedir?
Bir {s} hangi çeşittendir?""",
        """Her {s} bir {a_dir}.
Genellikle {s} bir {a} sayılır.
Bizim {gen} türü {a_dir}.
Bir {s} {a} grubundadır.
Tür olarak {s} bir {a_dir}.""",
    ),
    "başkent": (
        """Acaba {gen} başkenti neresidir?
Peki {gen} başkenti hangi şehirdir?
Hangi şehir {gen} başkentidir?
Bugün {s} hangi şehirden yönetilir?
Haritada {gen} başkenti olan şehir nedir?
Sence {gen} yönetildiği şehir neresidir?""",
        """Bugün {gen} başkenti {a_dir}.
Haritada {a} {gen} başkentidir.
Bugün {s} {a_abl} yönetilir.
Dünyada {s} ülkesinin başkenti {a_dir}.
Bildiğimiz {a} şehri {gen} başkentidir.""",
    ),
    "kıta": (
        """Acaba {s} hangi kıtadadır?
Peki {gen} bulunduğu kıta nedir?
Haritada {s} hangi kıtada yer alır?
Sence {gen} kıtası hangisidir?
Hangi kıta {acc} içerir?
Dünyada {s} ülkesi hangi kıtadadır?""",
        """Haritada {s} {a} kıtasındadır.
Bugün {s} {a} kıtasında yer alır.
Dünyada {gen} kıtası {a_dir}.
Bildiğimiz {s} bir {a} ülkesidir.
Haritada {a} kıtası {acc} içerir.""",
    ),
    "iş yeri": (
        """Acaba {gen} iş yeri neresidir?
Peki {gen} çalıştığı yer neresidir?
Sence {s} için çalışma yeri neresidir?
Hangi yer {gen} iş yeridir?
Genellikle {gen} görev yeri neresidir?
Bir {s} nerenin çalışanıdır?""",
        """Genellikle {s} {a_loc} çalışır.
Her {gen} iş yeri {a_dir}.
Bizim {acc} {a_loc} görürüz.
Bir {gen} çalıştığı yer {a_dir}.
Çoğu {gen} görev yeri {a} olur.""",
    ),
    "malzeme": (
        """Acaba {gen} malzemesi nedir?
Peki {s} hangi malzemeden olur?
Sence {gen} yapıldığı malzeme nedir?
Bir {s} için hangi malzeme gerekir?
Genellikle {s} hangi maddeden yapılır?
Hangi malzeme {acc} oluşturur?""",
        """Genellikle {s} {a_abl} yapılır.
Her {gen} malzemesi {a_dir}.
Bir {s} için {a} gerekir.
Bizim {s} yapımında {a} kullanılır.
Çoğu {gen} yapıldığı malzeme {a_dir}.""",
    ),
    "mevsim": (
        """Acaba {s} ayı hangi mevsimdedir?
Peki {s} ayının mevsimi nedir?
Sence {s} hangi mevsimin ayıdır?
Genellikle {s} ayı hangi mevsime girer?
Bizde {s} ayında hangi mevsim yaşanır?""",
        """Bilindiği gibi {s} bir {a} ayıdır.
Bizde {s} ayında {a} yaşanır.
Genellikle {s} ayının mevsimi {a_dir}.
Bizde {s} ayı {a} mevsimindedir.""",
    ),
    "yaşam yeri": (
        """Acaba {gen} yaşadığı yer neresidir?
Peki {s} nerenin hayvanıdır?
Sence {gen} yuvası neresidir?
Genellikle {gen} yaşam yeri neresidir?
Bir {s} en çok nerede bulunur?
Hangi yer {gen} yuvasıdır?""",
        """Genellikle {s} {a_loc} yaşar.
Her {gen} yuvası {a_dir}.
Bir {s} {a_loc} bulunur.
Çoğu {gen} yaşadığı yer {a_dir}.
Bildiğimiz {s} bir {a} hayvanıdır.""",
    ),
    "karşıt": (
        """Acaba {s} sözcüğünün karşıtı nedir?
Peki {s} sözcüğünün karşıt anlamlısı nedir?
Sence {s} hangi sözcüğün karşıtıdır?
Anlamca {s} sözcüğünün tersi nedir?
Genellikle {s} sözcüğünün tersi olan sözcük nedir?""",
        """Anlamca {s} sözcüğünün karşıtı {a_dir}.
Bilindiği gibi {s} ile {a} karşıt anlamlıdır.
Genellikle {s} sözcüğünün tersi {a} olur.""",
    ),
    "sonraki ay": (
        """Acaba {abl} sonra hangi ay gelir?
Peki {abl} sonraki ay hangisidir?
Sence {acc} hangi ay izler?
Her yıl {s} bitince hangi ay başlar?
Takvimde {s} ayından sonra ne gelir?""",
        """Takvimde {abl} sonra {a} gelir.
Her yıl {acc} {a} izler.
Her yıl {s} bitince {a} başlar.
Takvimde {s} ayından sonra {a} gelir.""",
    ),
    "sonraki gün": (
        """Acaba {abl} sonra hangi gün gelir?
Peki {abl} sonraki gün hangisidir?
Sence {acc} hangi gün izler?
Her hafta {s} bitince hangi gün başlar?
Takvimde {s} gününden sonra ne gelir?""",
        """Takvimde {abl} sonra {a} gelir.
Her hafta {acc} {a} izler.
Takvimde {abl} sonraki gün {a_dir}.
Takvimde {s} gününden sonra {a} gelir.""",
    ),
}
