"""Spellings of personal data, figures that only look like it, and numbers with check digits.

All names and numbers are made up; those with check digits are computed. «» are no part of a
text: they stand around what tells who it is, so without the zero or the country code of a phone.
"""

import random

from diffutron.text.privacy import luhn_holds, tax_number_holds

AROUND = "Not: {} son."  # a row of spellings as a text


def identity_number(random_numbers: random.Random) -> str:
    digits = [random_numbers.randint(1, 9)] + [random_numbers.randint(0, 9) for _ in range(8)]
    tenth = (7 * sum(digits[0::2]) - sum(digits[1::2])) % 10
    return "".join(map(str, [*digits, tenth, (sum(digits) + tenth) % 10]))


def iban(random_numbers: random.Random) -> str:
    rest = "".join(str(random_numbers.randint(0, 9)) for _ in range(22))
    check = 98 - int(rest + "292700") % 97  # T = 29, R = 27
    return f"TR{check:02d}{rest}"


def card(random_numbers: random.Random) -> str:
    body = "4" + "".join(str(random_numbers.randint(0, 9)) for _ in range(14))
    return next(body + last for last in "0123456789" if luhn_holds(body + last))


def grouped(text: str, size: int, by: str) -> str:
    return by.join(text[start : start + size] for start in range(0, len(text), size))


def spot(row: str) -> tuple[str, int, int]:
    """The text of a row, and from where to where in it the personal data stands."""
    before, _, rest = row.partition("«")
    value, _, after = rest.partition("»")
    return before + value + after, len(before), len(before) + len(value)


NUMBERS = random.Random(41)
ID, ACCOUNT, PAY = identity_number(NUMBERS), iban(NUMBERS), card(NUMBERS)
TAX = next(one for one in map(str, range(4810030571, 4810030671)) if tax_number_holds(one))
A, B, C, D = ID[:3], ID[3:6], ID[6:9], ID[9:]
UNUSUAL = {
    "email": [
        "«ayse.demir [at] ornek.com.tr» adresine",
        "«ayse(at)ornek.com» yazın",
        "«ayse[at]ornek[nokta]com[nokta]tr»",
        "«ayse {at} ornek {dot} com»",
        "«ayse [et] ornek [nokta] com»",
        "«ayse @ ornek.com»",
        "«ayse＠ornek.com»",
        "«ayse at ornek dot com dot tr»",
        "Posta:...«ayse@ornek.com».",
        "<«AYSE.DEMIR@ORNEK.COM.TR»>",
        "«ayse_1+is%2@alt.örnek.com.tr»;",
        "e-posta:«ayse@ornek.com»,veli",
        "«ayse<at>ornek<nokta>com»",
        "«ayse(a)ornek.com» ile",
        "«ayse [kuyruklu a] ornek.com»",
        "«ayse et ornek nokta com»",
        "«ayse (at) ornek nokta com»",
        "«ayse @ ornek . com . tr»",
        "«ayse at gmail.com»",
    ],
    "phone": [
        "Tel...0«212 555 12 34»",
        "Tel:.0«532 555 12 34»",
        "Tel 0«212 555 12 34»-35",
        "Tel 0«212 555 12 34» / 35 numaralardan",
        "Tel 0«212 555 12 34» - 36",
        "cep «5325551234»",
        "cep «532 5551234»",
        "cep «532.555.12.34»",
        "cep «532-555-12-34»'ten",
        "(«532)5551234»",
        "90«5325551234»",
        "90 «532 555 12 34»",
        "+ 90 «532 555 12 34»",
        "(+90) «532 555 12 34»",
        "+90 (0) «532 555 12 34»",
        "+90(«532)5551234»",
        "+90-«532-555-12-34»",
        "0090 «532 555 1234»",
        "0«532.555.12.34»",
        "0.«532.555.12.34»",
        "0«532 - 555 12 34»",
        "0«532/555 12 34»",
        "0«532–555–12–34»",
        "0«532·555·12·34»",
        "0(«532)-555-12-34»",
        "0 «5 3 2 5 5 5 1 2 3 4»",
        "0«850 555 12 34»",
        "0«5325551234»-Ayşe",
        "2) 0«532 555 12 34» dahili 12",
        "0«532 55 51 234»",
        "0«532 5551 234»",
        "+90 «532.55.512.34»",
        "0 «53 25 55 12 34»",
        "0«5 32 555 12 34»",
        "0«532_555_12_34»",
        "[0«532] 555 12 34»",
        "+90 «5 3 2 5 5 5 1 2 3 4»",
        "Tel: «212 555 12 34»",
        "faks no: «312-555-1234»",
        "0«216 555 12 34»/35/36",
        "0«216 555 12 34» - 555 12 35",
    ],
    "identity_number": [
        f"TC«{ID}»",
        f"TCKN=«{ID}»",
        f"T.C.«{ID}»",
        f"No...«{ID}»",
        f"No.«{ID}»-Ayşe",
        f"«{A} {B} {C} {D}»",
        f"«{A}.{B}.{C}.{D}»",
        f"«{A}-{B}-{C}-{D}»",
        f"«{ID[:3]} {ID[3:5]} {ID[5:8]} {ID[8:]}»",
        f"«{' '.join(ID)}»",
        f"«{'-'.join(ID)}»",
        f"«{ID[:5]} {ID[5:]}»",
        f"«{ID[:4]}-{ID[4:8]}-{ID[8:]}»",
        f"«{ID[:2]}.{ID[2:5]}.{ID[5:8]}.{ID[8:]}»",
        f"«{A}/{B}/{C}/{D}»",
        f"«{A} - {B} - {C} - {D}»",
        f"tckn«{ID}»",
        f"tc_«{ID}»",
    ],
    "tax_number": [
        f"VKN «{TAX}»",
        f"V.K.N.: «{TAX}»",
        f"Vergi No: «{TAX}»",
        f"VERGİ KİMLİK NUMARASI («{TAX}»)",
        f"vergi dairesi Çankaya, no «{grouped(TAX, 5, ' ')}»",
        f"vergi numaram «{TAX[:3]} {TAX[3:6]} {TAX[6:]}».",
        f"«{TAX}» vergi numaralı",
        f"«{TAX}» VKN'li şirket",
        f"Çankaya V.D. «{TAX}»",
        f"V.No: «{TAX}»",
        f"VKN «{TAX[:3]}/{TAX[3:6]}/{TAX[6:]}»",
        f"Vergi No:\n«{TAX}»",
    ],
    "iban": [
        f"«TR {grouped(ACCOUNT[2:], 4, ' ')}»",
        f"«{grouped(ACCOUNT, 4, '.')}»",
        f"IBAN«{ACCOUNT}»",
        f"iban no.«{ACCOUNT.lower()}»",
        f"«{ACCOUNT[:10]} {ACCOUNT[10:18]} {ACCOUNT[18:]}»",
        f"«TR {' '.join(ACCOUNT[2:])}»",
        f"«{grouped(ACCOUNT, 4, '-')}»",
        f"«{grouped(ACCOUNT, 4, '/')}»",
        f"«{grouped(ACCOUNT, 4, ' - ')}»",
        f"iban_«{ACCOUNT}»",
        f"TR: «{ACCOUNT[2:]}»",
    ],
    "card": [
        f"kart...«{grouped(PAY, 4, ' ')}»",
        f"kart «{grouped(PAY, 4, '.')}»",
        f"kart «{grouped(PAY, 4, '/')}»",
        f"No.«{PAY}»",
        f"«{grouped(PAY, 4, '-')}» - 12/29",
        f"«{grouped(PAY, 4, ' - ')}»",
        f"«{grouped(PAY, 4, '_')}»",
        f"«{PAY[:6]} {PAY[6:]}»",
        f"«{PAY[:4]} {PAY[4:10]} {PAY[10:]}»",
    ],
    "ip": [
        "IP=«85.96.12.7»:8080",
        "«85[.]96[.]12[.]7»",
        "[«2001:DB8::8A2E:370:7334»]:443",
        "«fe80::1ff:fe23:4567:890a»%eth0",
        "«85.96.12.7»/24 ağı",
        "«85.96.12[.]7»",
        "«85(.)96(.)12(.)7»",
        "«85[dot]96[dot]12[dot]7»",
    ],
}
USUAL = {
    "email": [
        "«ayse123@ornek.com»",
        "mail: «ayse.demir@ornek.com.tr»",
        "«ayse_d@posta.ornek.org» adresi",
        "«ayse+haber@ornek.net»",
        "«AYSE@ORNEK.EDU.TR»",
    ],
    "phone": [
        "Tel: 0«212 555 12 34»",
        "+90 «532 555 12 34»",
        "0 («312) 555 12 34»",
        "cep 0«5325551234»",
        "(0«212) 555-12-34»",
    ],
    "identity_number": [f"«{ID}»", f"(«{ID}»)", f"«{ID}», 1990", f'"«{ID}»"', f"TC: «{ID}»"],
    "tax_number": [
        f"VKN: «{TAX}»",
        f"vergi no «{TAX}»",
        f"Vergi Numarası: «{TAX}»",
        f"Vergi Kimlik No: «{TAX}»",
        f"Vergi Kimlik Numarası «{TAX}»",
    ],
    "iban": [
        f"IBAN: «{ACCOUNT}»",
        f"«{grouped(ACCOUNT, 4, ' ')}»",
        f"«{ACCOUNT.lower()}»",
        f"(«{ACCOUNT}»)",
        f"IBAN «{grouped(ACCOUNT, 4, ' ')}» hesabı",
    ],
    "card": [
        f"«{PAY}»",
        f"«{grouped(PAY, 4, ' ')}»",
        f"«{grouped(PAY, 4, '-')}»",
        f"(«{PAY}»)",
        f"kart no: «{PAY}»",
    ],
    "ip": [
        "«85.96.12.7»",
        "(«85.96.12.7»)",
        "«85.96.12.7»:8080",
        "http://«85.96.12.7»/",
        "IP: «2001:db8:12::4a»",
    ],
}
HARMLESS = """\
Oran 0.5325551234 çıktı.
Katsayı 0.2125551234 olarak bulundu.
Değer 3.14159265358979 idi.
Ölçüm 0,53255512345 gram geldi.
Fiyatı 5.325.551.234 lira oldu.
Bütçe 5325551234 TL tutarındadır.
Toplam 1.250.000,50 TL ödendi.
Borç 532 555 123 lira.
Ciro 12.345.678.901 dolara ulaştı.
Kâr 5 412 345 678 lira olarak açıklandı.
6098 sayılı Kanun'un 12. maddesi
2004/7931 sayılı Bakanlar Kurulu kararı
5237 sayılı Türk Ceza Kanunu'nun 53/1-a maddesi
Esas No: 2012/5325, Karar No: 2013/12345
Resmî Gazete 30617, 6/12/2018
213 s. Vergi Usul Kanunu'nun mükerrer 298. maddesi
Vergi geliri 4810030571 lira arttı.
std::vector<int> ile std::chrono::seconds
Abc::Add çağrılır, sonra Dead::Beef.
a::b ve c::d ad alanları
bool ok = ns::fade::cafe(1);
ISBN 978-605-09-1234-5
ISBN: 9789750812345
ISBN 5325551234
ISBN 975-08-0532-X
ISSN 1300-4921
DOI 10.1016/j.cell.2018.05.032
arXiv:2008.12345v2
Sürüm 10.2.3.14 yayımlandı.
Sürüm 2.0.1.5 eskidi.
Saat 10:30:45'te başladı, 11:15:20'de bitti.
MAC 00:1a:2b:3c:4d:5e
Yuhanna 3:16-18
Maç 3-2, 2-1 ve 1-0 bitti.
1995-2005 arası 10 yıl
Tarih 05.12.2018 14:30
2018-12-05T14:30:45
Unix zamanı 1543012345
Koordinat 41.0082376, 28.9783589
Barkod 8690504012345
Sipariş 2018120512345678
Dosya 20181205_143045.jpg
Nüfus 12345678901 kişi.
Nüfus 15 519 267 kişi
Ağırlık 532 gram, boy 55 cm, 12 adet, 34 kutu
Hat numarası 34-12-05
444 adet kitap 12 rafta
112, 155 ve 156 acil hatlardır.
0 1 2 3 4 5 6 7 8 9
1 2 3 4 5 6 7 8 9 10 11 12
4 8 15 16 23 42 108 216
3600 3000 2400 1800 2150
4000 4100 4200 4300 4400 4500
Pi sayısı 3.1415926535 8979323846
@kullanici #etiket
Maliyet 5 TL @ adet başına
Kod: x[at] = y[0]
at yarışında ilk at dot kazandı
Bir at 10 metre ileri gitti.
Excel hücresi A1:B2:C3
Ölçek 1:25.000, pafta 34-12
532 555 12 34 56 78 90 12 sayı dizisi
H2O, CO2 ve C6H12O6
TR12 3456 numaralı ihale
TR-34 plaka bölgesi, TR2018 desteği
Madde 10.1.2.3 uyarınca
Tablo 5.3.2.5 ve Şekil 5.5.1.2
Oy: 541 320, 512 415, 505 118
RGB(53, 25, 55) ve #532555
%53,25 oranında, 5,12/34 payla
127.0.0.1 ile 0.0.0.0 yereldir.
Gelir 75.326.948.442 TL oldu.
Borç 2.194.195.185 TL idi.
05.12.2018 123 sayılı
Eksen 0 250 500 750 1000
Vergi dairesi müdürü 12 Mart 2018 tarihinde
Kitap, vd., 2018 2019 2020
Madde 5(a) ve 6(b) uygulanır.
Piyango 05 12 23 34 41 49
Telefon 250 bin 500 liraya satıldı.
Maç 3 @ 5 nokta farkla
""".splitlines()
PLATES = [  # an option
    "«34 ABC 123»",
    "«34ABC123»",
    "«34-ABC-12»",
    "«06 AB 1234» yazıyordu",
    "(«01 ZY 987»)",
    "«81TR4567»'ye",
    "araç:«35 KLM 45».",
    "plaka «34 abc 123»",
    "plakası «06 a 1234» olan",
    "plaka no: «06.AB.1234»",
    "plakanın «34 - ABC - 123» olduğu",
    "PLAKA:«34KM120»",
    "«34 km 120» plakalı araç",
    "«34 A 12345» plakalı",
    "«16 ef 789» sivil plakalı",
    "«07B1234» resmî plakalı",
    '"«45 hjk 67»" plakalı',
    "«42 ıns 321» plakalı",
    "plakası TR «34 DEF 456»",
    "«78 KB 5012» PLAKALI",
]
NO_PLATES = """\
Hız sınırı 34 km 120 metre sonra biter.
KALAN YOL 34 KM 120 METRE.
06 ocak 2020 tarihinde
06 OCAK 2020 TARİHİNDE
BUGÜN 15 MAR 20, YARIN 16 MAR 20.
SON GÜN 30 HAZ 2021.
34 TL 500 kuruş tuttu.
50 BIN 500 LIRA
12 VE 3456 SAYILI KARARLAR
12 ve 345 numaralı odalar
Saat 10:30 AB 1234 sefer.
5237 sayılı Kanun, 06 a 1234 dosyası
34 a 1234 ve 35 b 5678 satırları
Derinlik 20 M 1500 değil.
Parça 134 ABC 123
Model 90 ABC 123
Model 00 ABC 123
Kod 34 ABCD 123
Kod 34 ABC 1234
Kod 34 AB 12
Kod 34 A 123
Kod 34 QW 123
Kod 34 ŞA 123
Kod 34 WXQ 12
Oran 3,34 AB 123
Dizi 12 34 AB 123 45
Seri X34ABC123
Seri 34ABC123X
İstanbul'un plaka kodu 34, Ankara'nınki 06'dır.
plaka kodu 34 ve 1234 araç
34 plaka kodlu il
plaka 35, 2020 yılında verildi
İşlemci 20 MHZ 100
Basınç 30 BAR 120
Bellek 16 GB 1600
Güç 75 HP 1200
SÜRE 40 DK 300
Fiyat 20 USD 50
10 YIL 120 AY
Oy 45 AY 120
A4 80 GR 500 yaprak
""".splitlines()
