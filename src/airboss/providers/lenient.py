"""Answers of an odd shape, read as far as they can be: one odd member must not cost a whole answer. Pure."""

from __future__ import annotations

from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """What `decoder`, of a Struct, reads in `data`; where a member has another shape than it should, the
    rest. Raises msgspec.DecodeError for what is no JSON or has no shape at all, RecursionError and
    UnicodeDecodeError."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return cast("T", readable(msgspec.json.decode(data), decoder.type))


def readable(value: object, kind: Any) -> Any:
    """`value` as a Struct of `kind`, without the members that cannot be read. Raises msgspec.ValidationError
    where `value` is no object, or lacks what `kind` needs."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if not isinstance(value, dict):
            raise
    read = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in value:
            part = _part(value[field.encode_name], field.type)
            if part is not msgspec.UNSET:
                read[field.name] = part
    try:
        return kind(**read)
    except TypeError as error:
        raise msgspec.ValidationError(str(error)) from None


def _part(value: Any, kind: Any) -> Any:
    """A member, or UNSET."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        pass
    if isinstance(value, list):
        inner = next((get_args(each)[0] for each in _choices(kind) if get_origin(each) is list), None)
        if inner is not None:
            parts = [_part(each, inner) for each in value]
            return [each for each in parts if each is not msgspec.UNSET]
    if isinstance(value, dict):
        for each in _choices(kind):
            if isinstance(each, type) and issubclass(each, msgspec.Struct):
                try:
                    return readable(value, each)
                except msgspec.ValidationError:
                    continue
    return msgspec.UNSET


def _choices(kind: Any) -> tuple[Any, ...]:
    """What a type may be, where it is a union."""
    return (kind,) if get_origin(kind) in {list, dict, None} else get_args(kind)
