"""A text sealed so that only who has its key can read it. Pure.

It is made smaller (deflate, with a dictionary of what such texts have in common), then encrypted (AES-256-GCM
with a random nonce) for one place: who puts it into another one finds that it does not open. What is sealed
is written `VERSION.KEY.TEXT`, TEXT in base64; version 2 holds what is sealed once more, for a second person.
"""

from __future__ import annotations

import re
import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airboss.store.sealed_marks import BODY, NAME, Unopened

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
ID_CHARS_MAX: Final = 128
LEVEL: Final = 3
"""Of deflate: 49 µs for a body of 1.9 KB; 1 takes 41 for 4 % more bytes, 6 takes 62 for 2 % fewer."""
_DICTIONARY: Final = (
    b'"tool_calls":[{"id":"call_","type":"function","function":{"name":"","arguments":"{\\"'
    b'"stop":null,"seed":null,"stream_options":{"include_usage":true},"tools":[{"type":"function","function":'
    b'{"name":"","description":"","parameters":{"type":"object","properties":{'
    b'"},"usage":{"prompt_tokens":,"completion_tokens":,"total_tokens":,"prompt_tokens_details":'
    b'{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
    b'"system_fingerprint":"","service_tier":"default"'
    b'{"id":"chatcmpl-","object":"chat.completion","created":17,"model":"gpt-4o","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,'
    b'"finish_reason":"stop"}],'
    b'"max_tokens":,"temperature":0.,"stream":true,"user":"","metadata":{"session_id":"'
    b'{"model":"gpt-4o","messages":[{"role":"system","content":"You are a helpful assistant."},'
    b'{"role":"user","content":"'
)
"""A part of what is written: with another one nothing opens. A newer one needs a version of its own."""


class Key(msgspec.Struct, frozen=True):
    """A key, by its random id."""

    id: str
    cipher: AESGCM


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    airboss_sealed: str
    id: Any = None


class _Named(msgspec.Struct):
    id: Any = None


_SEALED: Final = re.compile(r"[12]\.[A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]+={0,2}")
_envelopes: Final = msgspec.json.Decoder(_Envelope)
_named: Final = msgspec.json.Decoder(_Named)


def new_key() -> tuple[str, bytes]:
    """The id of a new key, and the key."""
    return secrets.token_urlsafe(12), secrets.token_bytes(KEY_BYTES)


def encrypted(cipher: AESGCM, data: bytes, place: str) -> bytes:
    """Data that only this key opens, and only as what stands at this place."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, place.encode("utf-8", "surrogatepass"))


def decrypted(cipher: AESGCM, data: bytes, place: str) -> bytes:
    """The data again. Raises Unopened."""
    try:
        return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], place.encode("utf-8", "surrogatepass"))
    except (InvalidTag, ValueError):
        raise Unopened("it was changed, or put here from another place") from None


def seal(keys: tuple[Key, ...], data: bytes, place: str) -> str:
    """Data sealed for this place with each of these keys (one or two), all of which it takes to open it."""
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_DICTIONARY)
    text = squeeze.compress(data) + squeeze.flush()
    sealed = ""
    for version, key in enumerate(keys, start=1):
        sealed = f"{version}.{key.id}.{urlsafe_b64encode(encrypted(key.cipher, text, place)).decode()}"
        text = sealed.encode()
    return sealed


def key_of(sealed: str) -> str:
    """The id of the key that opens it. Raises Unopened."""
    parts = sealed.split(".", 2)
    if len(parts) != 3 or parts[0] not in {"1", "2"}:
        raise Unopened("it is nothing that this Airboss has sealed")
    return parts[1]


def unseal(key: Key, sealed: str, place: str) -> bytes | str:
    """The data again; a `str` where that is sealed with another key. Raises Unopened."""
    version, _, text = sealed.split(".", 2)
    try:
        data = urlsafe_b64decode(text)
    except ValueError:
        raise Unopened("it was changed, or put here from another place") from None
    opened = decrypted(key.cipher, data, place)
    if version == "2":
        return opened.decode()
    return zlib.decompressobj(-zlib.MAX_WBITS, zdict=_DICTIONARY).decompress(opened)


def as_body(sealed: str, data: bytes) -> bytes:
    """A body with what is sealed, a JSON object. An answer's id stands beside it in the clear: spans of who
    called may name it too."""
    name = _name_of(data)
    body = b'%s"%s"' % (BODY, sealed.encode())
    return body + (b',"id":%s}' % msgspec.json.encode(name) if name else b"}")


def in_body(body: bytes) -> str | None:
    """What is sealed in this JSON; None: it is no sealed body."""
    if not body.startswith(BODY):
        return None
    try:
        sealed = _envelopes.decode(body).airboss_sealed
    except msgspec.DecodeError:
        return None
    return sealed if is_sealed(sealed) else None


def in_value(body: Any) -> str | None:
    """As `in_body`, of a body that was read."""
    sealed = body.get(NAME) if isinstance(body, dict) and body.keys() <= {NAME, "id"} else None
    return sealed if isinstance(sealed, str) and is_sealed(sealed) else None


def is_sealed(text: str) -> bool:
    """Whether a text has the form of what `seal` gives: a caller may put our mark before words of its own."""
    return _SEALED.fullmatch(text) is not None


def _name_of(data: bytes) -> str | None:
    try:
        name = _named.decode(data).id
    except (msgspec.DecodeError, RecursionError):
        return None
    return name if isinstance(name, str) and len(name) <= ID_CHARS_MAX else None
