"""A table of unusual spellings of personal data, and of figures that only look like it.

All names and numbers are made up; those with check digits are computed.
"""

import random

import pytest

from diffutron.text.privacy import KINDS, PLACEHOLDERS, replace_personal_data, tax_number_holds
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
TABLE = [(kind, text) for kind, texts in UNUSUAL.items() for text in texts]


def test_the_tables_are_large_enough():
    assert set(UNUSUAL) == set(KINDS)
    assert len(TABLE) >= 40
    assert len(set(HARMLESS)) >= 60


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
