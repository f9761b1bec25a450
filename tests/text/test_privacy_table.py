"""A table of unusual spellings of personal data, and of figures that only look like it.

All names and numbers are made up; those with check digits are computed.
"""

import random

import pytest

from diffutron.text.privacy import (
    KINDS,
    PLACEHOLDERS,
    by_kind,
    replace_personal_data,
    tax_number_holds,
)
from tests.text.test_privacy import card, grouped, iban, identity_number

MISSED, ALARMS = 0.05, 0.02  # shares that are allowed
NUMBERS = random.Random(41)
ID, ACCOUNT, PAY = identity_number(NUMBERS), iban(NUMBERS), card(NUMBERS)
TAX = next(one for one in map(str, range(4810030570, 4810030670)) if tax_number_holds(one))
A, B, C, D = ID[:3], ID[3:6], ID[6:9], ID[9:]
UNUSUAL = {
    "email": [
        "ayse.demir [at] ornek.com.tr adresine",
        "ayse(at)ornek.com yazın",
        "ayse[at]ornek[nokta]com[nokta]tr",
        "ayse {at} ornek {dot} com",
        "ayse [et] ornek [nokta] com",
        "ayse @ ornek.com",
        "ayse＠ornek.com",
        "ayse at ornek dot com dot tr",
        "Posta:...ayse@ornek.com.",
        "<AYSE.DEMIR@ORNEK.COM.TR>",
        "ayse_1+is%2@alt.örnek.com.tr;",
        "e-posta:ayse@ornek.com,veli",
        "ayse<at>ornek<nokta>com",
    ],
    "phone": [
        "Tel...0212 555 12 34",
        "Tel:.0532 555 12 34",
        "Tel 0212 555 12 34-35",
        "Tel 0212 555 12 34 / 35 numaralardan",
        "Tel 0212 555 12 34 - 36",
        "cep 5325551234",
        "cep 532 5551234",
        "cep 532.555.12.34",
        "cep 532-555-12-34'ten",
        "(532)5551234",
        "905325551234",
        "90 532 555 12 34",
        "+ 90 532 555 12 34",
        "(+90) 532 555 12 34",
        "+90 (0) 532 555 12 34",
        "+90(532)5551234",
        "+90-532-555-12-34",
        "0090 532 555 1234",
        "0532.555.12.34",
        "0.532.555.12.34",
        "0532 - 555 12 34",
        "0532/555 12 34",
        "0532–555–12–34",
        "0532·555·12·34",
        "0(532)-555-12-34",
        "0 5 3 2 5 5 5 1 2 3 4",
        "0850 555 12 34",
        "05325551234-Ayşe",
        "2) 0532 555 12 34 dahili 12",
    ],
    "identity_number": [
        f"TC{ID}",
        f"TCKN={ID}",
        f"T.C.{ID}",
        f"No...{ID}",
        f"No.{ID}-Ayşe",
        f"{A} {B} {C} {D}",
        f"{A}.{B}.{C}.{D}",
        f"{A}-{B}-{C}-{D}",
        f"{ID[:3]} {ID[3:5]} {ID[5:8]} {ID[8:]}",
        " ".join(ID),
    ],
    "tax_number": [
        f"VKN {TAX}",
        f"V.K.N.: {TAX}",
        f"Vergi No: {TAX}",
        f"VERGİ KİMLİK NUMARASI ({TAX})",
        f"vergi dairesi Çankaya, no {grouped(TAX, 5, ' ')}",
        f"vergi numaram {TAX[:3]} {TAX[3:6]} {TAX[6:]}.",
    ],
    "iban": [
        f"TR {grouped(ACCOUNT[2:], 4, ' ')}",
        grouped(ACCOUNT, 4, "."),
        f"IBAN{ACCOUNT}",
        f"iban no.{ACCOUNT.lower()}",
        f"{ACCOUNT[:10]} {ACCOUNT[10:18]} {ACCOUNT[18:]}",
        " ".join(ACCOUNT.replace("TR", "TR ").split(" ")[0:1] + list(ACCOUNT[2:])),
        grouped(ACCOUNT, 4, "-"),
    ],
    "card": [
        f"kart...{grouped(PAY, 4, ' ')}",
        f"kart {grouped(PAY, 4, '.')}",
        f"kart {grouped(PAY, 4, '/')}",
        f"No.{PAY}",
        f"{grouped(PAY, 4, '-')} - 12/29",
    ],
    "ip": [
        "IP=85.96.12.7:8080",
        "85[.]96[.]12[.]7",
        "[2001:DB8::8A2E:370:7334]:443",
        "fe80::1ff:fe23:4567:890a%eth0",
        "85.96.12.7/24 ağı",
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
""".splitlines()
PLATES = [  # an option
    "34 ABC 123",
    "34ABC123",
    "34-ABC-12",
    "06 AB 1234 yazıyordu",
    "(01 ZY 987)",
    "81TR4567'ye",
    "araç:35 KLM 45.",
    "plaka 34 abc 123",
    "plakası 06 a 1234 olan",
    "plaka no: 06.AB.1234",
    "plakanın 34 - ABC - 123 olduğu",
    "PLAKA:34KM120",
    "34 km 120 plakalı araç",
    "34 A 12345 plakalı",
    "16 ef 789 sivil plakalı",
    "07B1234 resmî plakalı",
    '"45 hjk 67" plakalı',
    "42 ıns 321 plakalı",
    "plakası TR 34 DEF 456",
    "78 KB 5012 PLAKALI",
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
TABLE = [(kind, text) for kind, texts in UNUSUAL.items() for text in texts]


def test_the_tables_are_large_enough():
    assert set(UNUSUAL) == set(KINDS)
    assert len(TABLE) >= 40
    assert len(set(HARMLESS)) >= 60


def test_plates_are_found_where_they_are_asked_for():
    missed = []
    for text in PLATES:
        plain, found = replace_personal_data(f"Not: {text} son.", plates=True)
        if found != {"plate": 1} or plain.count("[PLAKA]") != 1:
            missed.append((text, plain))
    assert len(missed) <= MISSED * len(PLATES), missed
    assert all(replace_personal_data(text) == (text, {}) for text in PLATES)


def test_what_looks_like_a_plate_stays():
    harmless = [*NO_PLATES, *HARMLESS]
    alarms = [(one, replace_personal_data(one, plates=True)[0]) for one in harmless]
    alarms = [pair for pair in alarms if pair[0] != pair[1]]
    assert len(alarms) <= ALARMS * len(harmless), alarms


def test_the_other_kinds_are_found_beside_plates():
    for kind, text in TABLE:
        without = replace_personal_data(text)
        assert replace_personal_data(text, plates=True) == without, kind


@pytest.mark.parametrize("province", range(100))
def test_a_plate_has_a_province_and_figures_that_go_with_its_letters(province):
    for letters, figures in [("A", (4, 5)), ("BZ", (3, 4)), ("CDE", (2, 3))]:
        for number in range(1, 7):
            text = f"plaka {province:02d} {letters} {'7' * number}"
            _, found = replace_personal_data(text, plates=True)
            assert bool(found) == (1 <= province <= 81 and number in figures), text


def test_a_kind_that_was_not_looked_for_is_not_counted_as_none():
    _, found = replace_personal_data("34 ABC 123, veli@ornek.com", plates=True)
    assert by_kind(found, plates=True)["plate"] == 1
    assert by_kind(found, plates=False) == {kind: int(kind == "email") for kind in KINDS}


def test_unusual_spellings_are_found():
    missed = []
    for kind, text in TABLE:
        plain, found = replace_personal_data(f"Not: {text} son.")
        if found != {kind: 1} or sum(map(plain.count, PLACEHOLDERS)) != 1:
            missed.append((kind, text, plain))
    assert len(missed) <= MISSED * len(TABLE), missed


def test_figures_that_look_alike_stay():
    alarms = [(one, replace_personal_data(one)[0]) for one in HARMLESS]
    alarms = [pair for pair in alarms if pair[0] != pair[1]]
    assert len(alarms) <= ALARMS * len(HARMLESS), alarms


@pytest.mark.parametrize("seed", range(20))
def test_a_tax_number_wants_its_check_digit(seed):
    start = random.Random(seed).randrange(10**8, 10**9)
    holding = [last for last in range(10) if tax_number_holds(f"{start}{last}")]
    assert len(holding) == 1
    text = f"VKN: {start}{(holding[0] + 1) % 10}"
    assert replace_personal_data(text) == (text, {})
