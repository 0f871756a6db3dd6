"""Texts in which every value is marked, as in `mail «email:jane@example.com»`, and such as hold none.

Keys are put together here, so that no scanner of repositories takes them for real ones.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

MARKED = re.compile(r"«(\w+):(.*?)»", re.DOTALL)


def made(
    length: int, seed: int, alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
) -> str:
    """The random part of a key."""
    return "".join(random.Random(seed).choices(alphabet, k=length))


BASE32, HEX, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdef", "0123456789"
FULL_WIDTH = "".join(chr(ord(digit) + 0xFEE0) for digit in "4111111111111111")
LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
PEM = "-----BEGIN {0}PRIVATE KEY-----\n{1}\n{2}\n-----END {0}PRIVATE KEY-----"
JWT = "eyJ" + made(33, 1) + ".eyJ" + made(70, 2) + "." + made(43, 3)

VALUES = f"""
Write to «email:jane.doe@example.com» today.
<«email:bob@mail.example.co.uk»>, «email:a@b.de»;«email:first+tag@sub-domain.example.org».
mailto:«email:info@firma-müller.de»?subject=x and "«email:x_y@host.museum»"
From: Ann «email:ann.o'neil@example.ie» (work), cc «email:1234@163.com»
the address is «email:ops@very.deep.internal.example.com», not the other
user=«email:jane%40example.com»&lang=en
He wrote:\\n«email:tim@example.com»\\nand left.
{{"to": "«email:team@example.io»", "n": 1}}
markdown: [mail](mailto:«email:me@example.dev») and `«email:root@example.net»`
«email:UPPER.CASE@EXAMPLE.COM» wrote to «email:josé@example.es»
«email:почта@пример.рф» и «email:info@example.ru»
请联系«email:support@example.cn»谢谢
git clone https://x@y and mail «email:git.user@example.com»
Reach us: «email:sales@example.com». «email:help@example.com»! «email:why@example.com»?
Call «phone:+1 (415) 555-2671» or «phone:+14155552671».
London «phone:+44 20 7946 0958», Berlin «phone:+49 30 901820», Paris «phone:+33 1 42 68 53 00».
mobile «phone:+49 (0)171 2345678»; Tokyo «phone:+81-3-1234-5678»; Delhi «phone:+91 98765 43210»
US forms: «phone:(415) 555-2671», «phone:415-555-2671», «phone:212.555.0187», «phone:1-800-555-0199»
Phone: «phone:415 555 2671».
Tel. «phone:030 901820-17» and Fax: «phone:030/9018200»
UK «phone:020 7946 0958» or «phone:07911 123456»; FR «phone:06 12 34 56 78»
my phone number is «phone:4155552671» thanks
WhatsApp «phone:5551234567», call me at «phone:2125550187»
tel:«phone:+14155552671» text me at «phone:650-253-0000»
Telefon: «phone:089 12345678». Handy «phone:0151-23456789»
móvil: «phone:612 345 678», celular «phone:11 91234-5678»
Brasil «phone:+55 11 91234-5678» México «phone:+52 55 1234 5678»
中国 «phone:+86 138 1234 5678» 日本 «phone:03-1234-5678»
Sydney «phone:(02) 9374 4000» Zürich «phone:044 668 18 00» Milano «phone:02 1234 5678»
0049: «phone:0049 30 901820»
Card «card:4111 1111 1111 1111», exp 12/27, cvv 123
cards: «card:5555555555554444» «card:378282246310005» «card:6011111111111117»
«card:3782 822463 10005» and «card:3056 930902 5904» and «card:4242-4242-4242-4242»
pay with «card:5105.1051.0510.5100».
«card:4111 1111 1111 1111» 123
«card:5555-5555-5555-4444» 123, «card:5555-5555-5555-4444» 12/29, «card:5555-5555-5555-4444» 2029
«card:4111 1111 1111 1111»-123
«card:4111 1111 1111 1111» «card:5500 0000 0000 0004»
JCB «card:3530111333300000» UnionPay «card:6200000000000005» Mir «card:2200000000000004»
visa 19: «card:4000000000000000006»
«card:4111111111111111».123 «card:4111111111111111».0 «card:4111111111111111»,123 «card:378282246310005».5
1001,«card:4111111111111111»,12/27 0,«card:5555555555554444» «card:4111.1111.1111.1111».123
full width: «card:{FULL_WIDTH}»
nbsp: «card:4111\u00a01111\u00a01111\u00a01111»
hidden: «card:4111\u200b1111\u200b1111\u200b1111»
{{"number": "«card:4000056655665556»", "cvc": "123"}}
IBAN «iban:DE89 3704 0044 0532 0130 00» please
IBAN: «iban:GB29NWBK60161331926819», «iban:FR14 2004 1010 0505 0001 3M02 606».
«iban:NL91ABNA0417164300» next word
«iban:NO93 8601 1117 947» «iban:MT84MALT011000012345MTLCAST001S»
«iban:ch93 0076 2011 6238 5295 7» in lower case
«iban:ES91-2100-0418-4502-0005-1332» with hyphens; «iban:AT61 1904 3002 3457 3201» paid
«iban:BE68 5390 0754 7034», «iban:PL61 1090 1014 0000 0712 1981 2874»
SSN «us_ssn:536-22-1874» and «us_ssn:219-45-1234».
SSN: «us_ssn:536221874», social security number «us_ssn:536 22 1874»
his social is on file: ssn=«us_ssn:401-33-2345»;
("«us_ssn:123-45-6789»")
server «ip:10.2.3.4» and «ip:203.0.113.7»:8080, net «ip:192.168.1.0»/24
from «ip:8.8.8.8», to [«ip:2001:db8::1»]:443; «ip:fe80::1ff:fe23:4567:890a»%eth0
IP=«ip:172.16.254.1» range «ip:10.0.0.1»-«ip:10.0.0.9».
GET /x «ip:198.51.100.23» - - [10/Oct/2026:13:55:36 +0000]
«ip:2001:0db8:85a3:0000:0000:8a2e:0370:7334» «ip:fd12:3456:789a::1»
x-forwarded-for: «ip:100.64.1.2», «ip:1.1.1.1»
OPENAI_API_KEY=«secret:sk-proj-{made(48, 10)}»
anthropic «secret:sk-ant-api03-{made(60, 11)}» and «secret:sk-{made(48, 12)}».
github «secret:ghp_{made(36, 13)}» «secret:github_pat_{made(22, 14)}_{made(59, 15)}»
gitlab «secret:glpat-{made(20, 16)}»; slack «secret:xoxb-{made(12, 17, DIGITS)}-{made(24, 18)}»
aws «secret:AKIA{made(16, 19, BASE32)}» secret_access_key = «secret:{made(40, 20)}»
google «secret:AIza{made(35, 21)}» stripe «secret:sk_live_{made(24, 22)}»
hf «secret:hf_{made(34, 23)}» npm «secret:npm_{made(36, 24)}» sg «secret:SG.{made(22, 25)}.{made(43, 26)}»
ours «secret:ab_{made(43, 27)}» databricks «secret:dapi{made(32, 28, HEX)}»
do «secret:dop_v1_{made(64, 29, HEX)}»
groq «secret:gsk_{made(52, 30)}» xai «secret:xai-{made(80, 31)}» bot «secret:123456789:AA{made(33, 32)}»
Authorization: Bearer «secret:{made(40, 33)}»
curl -H 'Authorization: Basic «secret:YWxhZGRpbjpvcGVuc2VzYW1l»' http://x
session «secret:{JWT}» ok
key:\n«secret:{PEM.format("RSA ", made(64, 34), made(20, 35))}»\nthanks
k = "«secret:{PEM.format("", made(64, 36), made(20, 37)).replace(chr(10), chr(92) + "n")}»"
«secret:{PEM.format("OPENSSH ", made(70, 38), made(30, 39))}» and so on
password=«secret:hunter2x!» next
my password is «secret:Tr0ub4dor&3»
"password": "«secret:s3cr3t,pass;w0rd»", "x": 1
DB_PASSWORD: «secret:pa55word1»
api_key = '«secret:{made(32, 40, HEX)}»'
postgres://bob:«secret:s3cretpw»@db.example.com:5432/app
redis://:«secret:{made(20, 41)}»@cache/0
client_secret: "«secret:{made(30, 42)}»"
pwd=«secret:qwerty12345»; Server=x
"access_token":"«secret:{made(64, 43, LOWER)}»"
apikey: «secret:{made(20, 44, HEX)}»
"""
"""One text a line."""

NOTHING = """
The order 8837-2211 backlog, version 2.4.1, costs $1,234.56 and weighs 12.5 kg.
Order #100200300400500, invoice INV-2024-000123, ticket 4155552671, ref 536221874.
Released v10.2.3.4 and version 1.2.3.4; build 10.0.19041.1288; Chrome/119.0.6045.105
Dates 2024-01-02, 01/02/2024, 2024-01-02 03:04:05, 02.01.2024, 20240102, 2024-01-02T03:04:05Z
uuid 123e4567-e89b-12d3-a456-426614174000 and 12345678-1234-4111-1111-111111111111
sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
commit 4a40d6b5cd7957c2eaee92152133f912490d3c81, tag sha-1234567
timestamps 1732406400 1732406400123 1732406400123456
floats 0.4111111111111111 2.6666666666666665 3.1415926535897931 -0.5333333333333333
4111111111111112 and 4111 1111 1111 1112 fail the check; 1234567890123456 has no issuer
@app.route("/x") icon@2x.png lodash@4.17.21 react@18.2.0-rc.1 @types/node@20.1.0 git@github.com:org/repo.git
foo @ bar, a@b, user@localhost, decorator@x, @mention, me@, @you.com
lines 1-2, pages 100-200, 12:30:45, 00:1A:2B:3C:4D:5E, std::vector<int>, a::b, ::1, 127.0.0.1, 0.0.0.0
mask 255.255.255.0
Table: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 | 100 200 300 400 | 1024 2048 4096 8192
2018 2019 2020 2021 and 3000 4000 5000 6000 of them; 1 000 000 000; 12,345,678
ISBN 978-3-16-148410-0, 0-306-40615-2; EAN 4006381333931; DOI 10.1000/182; RFC 2119; part 12-3456-78
tracking 1Z999AA10123456784, 9400 1000 0000 0000 0000 00; VIN 1HGCM82633A004352; IMEI 490154203237519 no card
GB29NWBK60161331926818 is no account, nor is XX12 3456 7890 1234 5678
ssn 000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567; case 12-345-6789; 123-45-67890
math: 2^31 = 2147483648, pi*1e10, 5/9, 10-20, (1,2), x=-12345678, +5, +12, C++11, 1+1=2
password: required; the password must be at least 8 characters; forgot your password?
password = getpass(); password=os.environ["DB_PASSWORD"]; password: str = None; api_key=settings.api_key
"password": "string", api_key: "YOUR_API_KEY", token = "<token>", secret=${SECRET}, pwd: /home/user1/work
max_tokens: 1024, prompt_tokens=123456, "total_tokens": 1234567, next_page_token: 12345678, token: 42
Bearer of bad news; bearer authentication; Basic authentication; basic-training-course-2024
sk-learn-contrib-extra-package-name task-force-one-two-three-four-five ask-me-anything-about-this-thing
-----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- mark a key; -----BEGIN CERTIFICATE-----
https://user:password@host.example/ is how it looks; http://example.com:8080/a@b; see http://a.b/c?d=1
eyJhbGciOiJIUzI1NiJ9 alone is a header; eyJ is how they begin; ghp_short; AKIA is a prefix
model gpt-4o-2024-08-06, claude-3-5-sonnet-20241022, llama-3.1-8b, T5-11B, H100-80GB
call 911, call 5 people, phone 12, fax machine, mobile phone, the cell count was 123456
phones sold: 2024-01-02 1000 units; call us at noon; dial 0 for help; tel aviv 2024
section 1.2.3.4, 1.2.3.4.5.6, 300.1.2.3, 01.02.03.04, 1.2.3, 10.5.2
0x1A2B3C4D, 0b101010, #ff00ff, 1e-10, 100%, 50°, 12:30, 3rd, 4/5, 0445-110-64, 007
AS64512, 10GbE, 802.11ax, ISO-8601, IEC 62443-4-2, EN 60601-1-2:2015, MIL-STD-810G
chatcmpl-9tW3xJk2mNpQrStUvWxYz012345, call_abc123DEF456ghi789, run_1234567890, req_0123456789abcdef
size 1920x1080 1280 720 640 480; scores 99 98 97; odds 1:2:3:4; ratio 16:9; 12-11-10-9
latitude 48.858370, 2.294481; -33.8567844, 151.2152967; zip 94107-1234, 10115
The secret: patience. The secret is out. Their credentials: impeccable. token economy, access token expired
x@self.weight.T @ y.T; np.array([[1, 2], [3, 4]]) @ v; a = b @ c.d
"""
"""One text a line, none with a value."""


def samples() -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Each text without the marks, and its values: kind, first character, the one after the last."""
    lines = [line.replace("\x00", "\n") for line in _lines(VALUES)] + NOTHING.strip().split("\n")
    for line in lines:
        text, values, done = "", [], 0
        for mark in MARKED.finditer(line):
            text += line[done : mark.start()]
            values.append((mark[1], len(text), len(text) + len(mark[2])))
            text += mark[2]
            done = mark.end()
        yield text + line[done:], values


def _lines(texts: str) -> list[str]:
    # The lines of a key are no texts of their own.
    return MARKED.sub(lambda mark: mark[0].replace("\n", "\x00"), texts).strip().split("\n")
