"""The words of the sample with their lexical marks, by kind.

``kitap>kitab`` gives the stem before a vowel, ``saat!`` marks front suffixes after a back vowel.
Unmarked long words in -k soften by rule; everything else that softens is marked here.
"""

from functools import cache

from diffutron.sample.morphology import Noun, Verb
from diffutron.text.turkish import word_list

NAMES = word_list("""
    Ali Ayşe Mehmet Fatma Zeynep Ahmet Elif Mustafa Emine Hasan Hatice Hüseyin Merve Selin Burak
    Ece Kerem Derya Murat Özge Okan İrem Işıl Yusuf Leyla Cem Aslı Onur Esra Emre Irmak İlker
    Ömer Pınar Serkan Tuba Volkan Yasemin Nazlı Tolga
""")

# The words of everyday scenes, whose forms the dictionary lists and the instructions ask for.
CORE_NOUNS = word_list("""
    kitap gazete dergi mektup çay kahve su süt elma muz üzüm ekmek peynir bardak tabak araba gömlek
    perde gitar piyano resim çiçek çorba pilav balık bilet otobüs tren anahtar top şapka saat masa
    sandalye dolap kedi köpek kuş at inek kapı duvar film maç park ev okul bahçe köy otel sokak
    orman oda pazar
""")
CORE_VERBS = word_list("""
    oku iç ye al yıka çal çiz pişir sat bekle bul taşı gör besle boya topla yaz izle dik ara git gel
    koş sev ver aç kal uyu gül unut
""")

_NOUNS = {
    "hayvan": """kedi köpek at inek koyun keçi tavuk kuş balık arı tavşan aslan kaplan fil maymun
        ayı kurt>kurd eşek ördek yılan kurbağa deve tilki zürafa penguen balina serçe kartal
        kelebek karınca""",
    "meyve": """elma armut>armud muz üzüm kiraz çilek limon portakal karpuz kavun şeftali kayısı
        erik incir ayva vişne""",
    "sebze": """domates biber patlıcan havuç>havuc soğan patates salatalık ıspanak lahana kabak
        bezelye fasulye pırasa marul turp""",
    "meslek": """öğretmen doktor hemşire aşçı berber çiftçi pilot şoför garson terzi kasap>kasab
        polis avukat mühendis gazeteci postacı balıkçı bahçıvan eczacı ressam kaptan fırıncı
        marangoz oyuncu şarkıcı bakan""",
    "taşıt": """otobüs tren uçak gemi bisiklet araba kamyon vapur taksi tramvay helikopter traktör
        metro minibüs""",
    "giysi": """gömlek pantolon ceket palto elbise etek çorap>çorab şapka eldiven kazak mont atkı
        kemer hırka""",
    "mobilya": "masa sandalye koltuk dolap>dolab yatak raf sehpa kanepe",
    "çalgı": "gitar piyano keman flüt davul saz bağlama",
    "eşya": """kitap>kitab kalem defter bardak tabak kaşık çatal bıçak anahtar telefon bilgisayar
        çanta lamba ayna saat! halı perde battaniye şemsiye top mektup>mektub gazete dergi fotoğraf
        resim>resm kapı pencere ayakkabı duvar sepet para oyuncak vazo yüzük bilet ilaç>ilac""",
    "yiyecek": """ekmek peynir zeytin bal yumurta çorba pilav et makarna pasta börek şeker reçel
        yemek kahvaltı pirinç>pirinc dondurma çikolata""",
    "içecek": "çay kahve süt su>suy ayran",
    "yer": """ev okul hastane market park bahçe mutfak salon oda sokak cadde köy şehir>şehr deniz
        göl dağ orman kütüphane sinema tiyatro müze istasyon fabrika ofis lokanta otel banka
        postane eczane fırın stadyum çarşı sahil tarla ahır garaj liman köprü kasaba meydan
        durak pazar mahkeme""",
    "kişi": """anne baba kardeş abla amca teyze dede nine arkadaş komşu çocuk öğrenci kız oğul>oğl
        adam kadın bebek misafir insan""",
    "beden": "burun>burn ağız>ağz boyun>boyn karın>karn el ayak göz baş diş kol parmak saç kulak",
    "zaman": """gün akşam sabah gece hafta ay yıl mevsim dakika yaz kış ilkbahar sonbahar
        tatil""",
    "soyut": """
        sözcük eylem renk>reng isim>ism sonuç>sonuc sebep>sebeb cevap>cevab soru sınav ders ödev
        hata kulüp>kulüb grup>grub grip>grib festival! gol! rol! kalp!>kalb fikir>fikr akıl>akl
        hak>hakk his>hiss haber şarkı film oyun öykü şiir müzik yarış ödül madalya ceza söz
        özür>özr şaka yol iş hukuk>hukuk hayat dikkat! harf! zaman dünya ülke başkent şans çiçek
        ağaç>ağac yaprak güneş yağmur kar buz ateş ışık tuz çamur toprak
    """,
    "doğa": """kömür gökyüzü gül kan mısır pamuk kuğu karga flamingo lavanta menekşe kestane ceviz
        kakao fare duman çimen civciv un brokoli yunus ahtapot geyik akrep>akreb horoz işçi
        kütüphaneci cam ahşap>ahşab metal kumaş deri yün çöl kümes kıta malzeme yuva tür""",
    "ay_adı": """ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık""",
    "gün_adı": "pazartesi salı çarşamba perşembe cuma cumartesi pazar",
    "haber": """takım hakem kaleci maç turnuva antrenman penaltı sayı kupa forma antrenör
        sezon lig futbolcu kulvar rekor puan yüzücü voleybolcu
        gala dizi albüm konser sahne magazin sosyete moda defile nişan düğün manken sunucu
        yönetmen ünlü yapımcı klip>klib kostüm
        meclis yasa seçim parti miting başbakan milletvekili vali muhalefet oy bütçe anlaşma
        sandık elçi tasarı senato kampanya belediye
        aşı virüs tedavi hasta ameliyat klinik uzman vitamin bağışıklık diyet cerrah tahlil
        mikrop>mikrob şurup>şurub muayene laboratuvar hekim serum
        borsa hisse faiz şirket dolar enflasyon ihracat yatırımcı bankacı kredi vergi piyasa
        tüccar döviz holding ihracatçı zam sanayi tahvil""",
}

COUNTRIES = {  # country: capital and continent
    "Türkiye": "Ankara Asya", "Fransa": "Paris Avrupa", "Almanya": "Berlin Avrupa",
    "İtalya": "Roma Avrupa", "İspanya": "Madrid Avrupa", "Yunanistan": "Atina Avrupa",
    "Portekiz": "Lizbon Avrupa", "Norveç": "Oslo Avrupa", "Japonya": "Tokyo Asya",
    "Çin": "Pekin Asya", "İran": "Tahran Asya", "Irak": "Bağdat Asya", "Suriye": "Şam Asya",
    "Mısır": "Kahire Afrika", "Fas": "Rabat Afrika", "Tunus": "Tunus Afrika",
    "Kenya": "Nairobi Afrika", "Nijerya": "Abuja Afrika", "Küba": "Havana Amerika",
    "Peru": "Lima Amerika", "Kanada": "Ottawa Amerika", "Brezilya": "Brasilia Amerika",
    "Şili": "Santiago Amerika", "Meksika": "Meksiko Amerika",
}  # fmt: skip

_VERBS = word_list("""
    oku iç ye al yıka çal çiz pişir sat bekle bul kaybet>kaybed taşı gör besle boya topla yaz
    izle giy dik sev git>gid gel kal ver dur vur öl ol bil bin in düş düşür kır kırıl kaç kaçır
    kazan kork koş otur kalk konuş gül ağla uyu uyan yürü yüz çalış öğren anla anlat sor söyle
    de başla bitir aç kapat temizle yak yan yat tut kes iyileş hastalan yorul acık susa üşü
    ıslan kay kirlen sevin üzül kız şaşır dinle oyna unut hatırla öde ara bak çık gir dön yap
    et>ed dinlen buluş harca biriktir kullan tanıt artır azalt savun eleştir onayla açıkla at
    kurtar geç terle incele uygula geliştir düzenle imzala sun seç yükselt öv katıl affet>affed
    tat>tad kızar kilitle yetiş kutla özle üret göster getir götür koy bırak dökül dök iste sür
    kur tak dile kaybol büyü ek öner koru
""")

ADJECTIVES = word_list("""
    büyük küçük uzun kısa sıcak soğuk yeni eski güzel çirkin iyi kötü hızlı yavaş kolay zor
    temiz kirli açık kapalı dolu boş ağır hafif genç yaşlı zengin fakir mutlu mutsuz tatlı acı
    kalın ince geniş dar sert yumuşak kuru ıslak erken geç ucuz pahalı yüksek alçak güçlü zayıf
    çalışkan tembel aç tok sağlam bozuk yakın uzak aydınlık karanlık derin sığ sessiz gürültülü
    hasta sağlıklı taze bayat
""")

COLORS = word_list("sarı kırmızı yeşil mavi beyaz siyah turuncu mor kahverengi gri pembe")

NUMBERS = word_list("bir iki üç dört beş altı yedi sekiz dokuz on yirmi otuz kırk elli")


def _noun(entry: str) -> Noun:
    lemma, _, soft = entry.partition(">")
    return Noun(lemma.rstrip("!"), soft=soft, front=lemma.endswith("!"))


@cache
def nouns() -> dict[str, Noun]:
    """Return every common noun by lemma."""
    entries = (entry for block in _NOUNS.values() for entry in block.split())
    return {noun.lemma: noun for noun in map(_noun, entries)}


@cache
def nouns_of(kind: str) -> tuple[str, ...]:
    """Return the lemmas of one kind of noun, as listed."""
    return tuple(_noun(entry).lemma for entry in _NOUNS[kind].split())


@cache
def verbs() -> dict[str, Verb]:
    """Return every verb by stem."""
    parts = (entry.partition(">") for entry in _VERBS)
    return {stem: Verb(stem, soft=soft) for stem, _, soft in parts}


@cache
def proper_nouns() -> dict[str, Noun]:
    """Return names of persons, countries, capitals and continents by lemma."""
    places = [word for place in COUNTRIES.values() for word in place.split()]
    lemmas = [*NAMES, *COUNTRIES, *places]
    return {lemma: Noun(lemma, proper=True) for lemma in lemmas}


def noun(lemma: str) -> Noun:
    """Return the noun or proper noun `lemma`; KeyError when the lexicon has none."""
    return nouns().get(lemma) or proper_nouns()[lemma]
