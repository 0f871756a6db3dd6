"""Secrets: keys by the prefixes of those who give them out, JSON web tokens, private keys, what follows
`Bearer`, passwords in URLs, and what is assigned to a name such as `password` or `API_KEY`.

Long random texts without such a sign are not looked for: most of them are digests and ids.
"""

from __future__ import annotations

import base64
import binascii
import re

from airboss.governance.candidates import START, Detector, Span, run_of
from airboss.governance.shapes import Shape, chars, either, maybe, seq, word, words

PEM_MAX = 16_384
"""Characters of a private key that are taken from a text that does not end it."""

_TOKEN = r"[A-Za-z0-9_-]"  # noqa: S105  # a class of characters
_ALNUM = "[A-Za-z0-9]"
_HEX = "[0-9a-f]"
_BASE64 = "[A-Za-z0-9+/]"


def _begins(prefix: str, of: str, low: int) -> Shape:
    """A prefix that gives a key away, and as many more characters as every such key has."""
    return seq(word(prefix), chars(of, low))


_KEYS = (
    _begins("ab_", _TOKEN, 43),  # Airboss
    *(_begins(f"gh{kind}_", _ALNUM, 36) for kind in "pousr"),
    _begins("github_pat_", "[A-Za-z0-9_]", 22),
    *(_begins(prefix, _TOKEN, 20) for prefix in ("glpat-", "gldt-", "glrt-", "ya29.", "hvs.", "dckr_pat_")),
    seq(word("xox"), chars("[abeprs]", 1), word("-"), chars("[A-Za-z0-9-]", 12)),  # Slack
    _begins("xapp-", "[A-Za-z0-9-]", 20),
    seq(words("AKIA", "ASIA"), chars("[A-Z2-7]", 16)),
    _begins("AIza", _TOKEN, 35),
    _begins("GOCSPX-", _TOKEN, 28),
    *(_begins(prefix, _ALNUM, 16) for prefix in ("sk_live_", "sk_test_", "rk_live_", "rk_test_")),
    _begins("whsec_", "[A-Za-z0-9+/]", 32),
    *(_begins(prefix, _ALNUM, 30) for prefix in ("hf_", "gsk_", "xai-", "pplx-", "r8_", "lin_api_")),
    *(_begins(prefix, _ALNUM, 36) for prefix in ("npm_", "ntn_", "tfp_")),
    _begins("pypi-AgE", _TOKEN, 40),
    seq(word("SG."), chars(_TOKEN, 22), word("."), chars(_TOKEN, 43)),
    _begins("dop_v1_", _HEX, 64),
    *(_begins(prefix, "[0-9a-fA-F]", 32) for prefix in ("dapi", "shpat_", "shpca_", "shppa_", "shpss_")),
    _begins("ATATT3x", r"[A-Za-z0-9_=-]", 50),
    _begins("NRAK-", "[A-Z0-9]", 27),
    _begins("AGE-SECRET-KEY-1", "[A-Z0-9]", 58),
    seq(chars("[0-9]", 8, 10), word(":AA"), chars(_TOKEN, 33)),  # Telegram
)


def _has(pattern: bytes, value: bytes) -> bool:
    return re.search(pattern, value) is not None


def _random(value: bytes) -> bool:
    """Whether a name made of words is unlikely to look so."""
    return _has(rb"\d", value) and (_has(rb"[A-Z]", value) or len(re.findall(rb"\d", value)) > 3)


def _sk(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    return (0, len(found)) if _random(found[3:]) else None


def _bearer(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    scheme, _, value = found.replace(b"\t", b" ").partition(b" ")
    value = value.lstrip(b" ")
    if scheme.lower() == b"basic":
        try:
            plain = base64.b64decode(value[: len(value) // 4 * 4], validate=True)
        except binascii.Error:
            return None
        if b":" not in plain or not plain.isascii():
            return None
    elif not _has(rb"\d", value):
        return None
    return len(found) - len(value), len(found)


_ASSIGNED = re.compile(
    rb"""(?i)([a-z_ -]+?)["'\]]{0,2}(?:[ \t]{0,3}(?::=|=>|==?|:)|[ ]is:?)[ \t]{0,3}["'`]?"""
)
_PLACEHOLDER = re.compile(
    rb"(?i)x{4}|\*{3}|\.{3}|[<$%{]|your|change.?me|placeholder|redacted|process\.env|os\.|env[.:(]|getenv|self\."
    rb"|config|settings"
)
_STRONG = re.compile(rb"[0-9!@#$%^*?~]")


def _assigned(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    name = _ASSIGNED.match(found)
    if name is None or after[:1] in (b"(", b"["):  # a call or a subscript
        return None
    start = name.end()
    value = found[start:]
    if _PLACEHOLDER.match(value) or (name[1].lower().endswith(b"pwd") and value[:1] == b"/"):
        return None
    if name[1].lower() == b"token" and not (len(value) >= 16 and _random(value)):
        return None  # of pages, of counts, of syntax
    if _STRONG.search(value.rstrip(b".!?")):
        return start, len(found)
    # Letters alone are a value only between quotation marks, and if they are not a word, a name or a path.
    mixed = len(value) >= 12 and not (value.islower() or value.isupper() or b"." in value or b"_" in value)
    return (start, len(found)) if mixed and found[start - 1 : start] in (b'"', b"'", b"`") else None


def _in_url(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    start = found.index(b":", found.index(b"://") + 3) + 1
    value = found[start:-1]
    if _PLACEHOLDER.match(value) or value.lower() in (
        b"pass",
        b"passwd",
        b"password",
        b"pw",
        b"pwd",
        b"secret",
    ):
        return None
    return start, len(found) - 1


_PEM_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}-----|`")
_PEM_END_MAX = 60


def _pem(text: bytes, start: int, end: int) -> tuple[int, bool]:
    """To the line that ends a key; but no further than a backtick, which ends an example, or PEM_MAX."""
    limit = start + PEM_MAX
    found = _PEM_END.search(text, max(end - _PEM_END_MAX, start, 0))
    stop = len(text) if found is None else found.start() if found[0] == b"`" else found.end()
    end = min(stop, limit)
    return end, end < len(text)


def _spaces(low: int, high: int) -> Shape:
    return chars(r"[ \t]", low, high)


_NAME = words(
    "password", "passwd", "passphrase", "passwort", "contrasena", "pwd", "secret", "credential",
    "credentials", "api_key", "api-key", "apikey", "api key", "access_key", "access-key", "accesskey",
    "access_key_id", "secret_key", "secret-key", "secretkey", "secret_access_key", "private_key",
    "private-key", "privatekey", "account_key", "accountkey", "auth_key", "encryption_key", "signing_key",
    "client_secret", "client-secret", "clientsecret", "auth_token", "auth-token", "authtoken",
    "access_token", "access-token", "accesstoken", "refresh_token", "refreshtoken", "api_token", "api-token",
    "apitoken", "bearer_token", "session_token", "id_token", "token", any_case=True,
)  # fmt: skip
_IS = seq(
    chars(r"""["'\]]""", 0, 2),
    either(
        seq(_spaces(0, 3), words(":=", "=>", "==", "=", ":")),
        seq(word(" is", any_case=True), maybe(word(":"))),
    ),
    _spaces(0, 3),
)
_BARE = r"""[^\x00-\x20\xff"'`<>\[\](){},;|\\]"""
_QUOTED = r"""[^\x00-\x20\xff"'`\\]"""

SECRETS = (
    Detector(
        kind="secret",
        name="key",
        shape=seq(START, either(*_KEYS)),
        grows=run_of(rb"[A-Za-z0-9_=-]"),
    ),
    Detector(
        kind="secret",
        name="sk",
        shape=seq(START, word("sk-"), chars(_TOKEN, 20, 64)),
        confirm=_sk,
        grows=run_of(rb"[A-Za-z0-9_-]"),
    ),
    Detector(
        kind="secret",
        name="jwt",
        # A header that long is none, but neither is it anything else: fail towards masking.
        shape=seq(
            START,
            word("eyJ"),
            either(seq(chars(_TOKEN, 8, 400), word("."), chars(_TOKEN, 8)), chars(_TOKEN, 400)),
        ),
        grows=run_of(rb"[A-Za-z0-9_.=-]"),
    ),
    Detector(
        kind="secret",
        name="pem",
        shape=seq(
            word("-----BEGIN "),
            chars("[A-Z0-9 ]", 0, 24),
            word("PRIVATE KEY"),
            maybe(word(" BLOCK")),
            word("-----"),
            chars(r"""[\x09-\x0d \\nrt"'+>|*#/]""", 0, 24),
            either(
                chars(r"[A-Za-z0-9+/=]", 16),
                words("Proc-Type:", "Version:", "Comment:", "DEK-Info:", "Key ID:"),
            ),
        ),
        grows=_pem,
    ),
    Detector(
        kind="secret",
        name="bearer",
        shape=seq(
            START,
            words("bearer", "basic", any_case=True),
            _spaces(1, 3),
            chars(r"[A-Za-z0-9._~+/=-]", 12, 64),
        ),
        confirm=_bearer,
        grows=run_of(rb"[A-Za-z0-9._~+/=-]"),
    ),
    Detector(
        kind="secret",
        name="in_url",
        shape=seq(
            chars("[A-Za-z0-9+.-]", 1, 20),
            word("://"),
            chars(r"""[^\x00-\x20:/?#"'<>\xff]""", 0, 64),
            word(":"),
            chars(r"""[^\x00-\x20@/"'<>\xff]""", 1, 128),
            word("@"),
        ),
        confirm=_in_url,
        skips=True,
    ),
    Detector(
        kind="secret",
        name="assigned",
        shape=seq(_NAME, _IS, chars(_BARE, 6, 128)),
        confirm=_assigned,
        grows=run_of(_BARE.encode()),
    ),
    Detector(
        kind="secret",
        name="assigned_quoted",
        shape=seq(_NAME, _IS, chars(r"""["'`]""", 1), chars(_QUOTED, 6, 128)),
        confirm=_assigned,
        grows=run_of(_QUOTED.encode()),
    ),
)
"""In the order in which they name a value that several find."""
