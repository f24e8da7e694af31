"""An error as the client protocol has it, in frames and in answers over HTTP.

Its metadata is a Value; `ActorSpecifier` says whose error it is. Whether to try again is not in the protocol: clients
know that from the code.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from host.model.errors import ErrorInfo
from host.wire.cbor import cbor_to_value, value_to_cbor
from host.wire.frames.bare import (
    read_bool,
    read_optional_data,
    read_optional_text,
    read_text,
    read_uint,
    write_optional_data,
    write_optional_text,
    write_text,
    write_uint,
)
from host.wire.frames.cbor_items import text_item, uint_item
from host.wire.frames.json_parts import uint_of
from host.wire.values import check_value

__all__ = [
    "ACTOR_SINCE",
    "ActorSpecifier",
    "ErrorDocument",
    "actor_of",
    "error_items",
    "fields_of",
    "info_of",
    "read_actor",
    "read_error",
    "write_actor",
    "write_error",
]

ACTOR_SINCE = 4  # the first version whose errors say which actor they are about


class ActorSpecifier(Struct, frozen=True):
    """The actor that an error is about. `key` is in the form of the manager API."""

    actor_id: str
    generation: int
    key: str | None = None


class _Actor(Struct, omit_defaults=True):
    actor_id: str = msgspec.field(name="actorId")
    generation: Any
    key: str | UnsetType = UNSET


class ErrorDocument(Struct, omit_defaults=True):
    """The fields that the JSON and CBOR forms of every error have."""

    group: str
    code: str
    message: str
    metadata: Raw | UnsetType = UNSET
    actor: _Actor | UnsetType | None = UNSET


def info_of(document: ErrorDocument) -> ErrorInfo:
    """Raises `request/invalid` where the metadata is no Value."""
    metadata = None if document.metadata is UNSET else bytes(document.metadata)
    if metadata in (b"null", b'["$Undefined",0]'):
        metadata = None
    if metadata is not None:
        check_value(metadata)
    return ErrorInfo(document.group, document.code, document.message, metadata=metadata)


def actor_of(document: ErrorDocument) -> ActorSpecifier | None:
    actor = document.actor
    if actor is UNSET or actor is None:
        return None
    return ActorSpecifier(actor.actor_id, uint_of(actor.generation), None if actor.key is UNSET else actor.key)


def fields_of(error: ErrorInfo, actor: ActorSpecifier | None) -> ErrorDocument:
    """For an encoder of JSON: what is not there is left out."""
    whose: _Actor | UnsetType = UNSET
    if actor is not None:
        whose = _Actor(actor.actor_id, actor.generation, UNSET if actor.key is None else actor.key)
    metadata = UNSET if error.metadata is None else Raw(error.metadata)
    return ErrorDocument(error.group, error.code, error.message, metadata, whose)


def error_items(error: ErrorInfo, actor: ActorSpecifier | None) -> list[bytes]:
    """The pairs of a CBOR map."""
    pairs = [
        b"egroup" + text_item(error.group),
        b"dcode" + text_item(error.code),
        b"gmessage" + text_item(error.message),
    ]
    if error.metadata is not None:
        pairs.append(b"hmetadata" + value_to_cbor(error.metadata, checked=True))
    if actor is not None:
        key = b"" if actor.key is None else b"ckey" + text_item(actor.key)
        head = b"\xa3" if key else b"\xa2"
        whose = (head, b"gactorId", text_item(actor.actor_id), b"jgeneration", uint_item(actor.generation), key)
        pairs.append(b"eactor" + b"".join(whose))
    return pairs


def read_error(data: bytes, at: int) -> tuple[ErrorInfo, int]:
    """BARE, up to and with the metadata, which every version has."""
    group, at = read_text(data, at)
    code, at = read_text(data, at)
    message, at = read_text(data, at)
    metadata, at = read_optional_data(data, at)
    value = None if metadata is None else cbor_to_value(metadata)
    return ErrorInfo(group, code, message, metadata=value), at


def read_actor(data: bytes, at: int) -> tuple[ActorSpecifier | None, int]:
    there, at = read_bool(data, at)
    if not there:
        return None, at
    actor_id, at = read_text(data, at)
    generation, at = read_uint(data, at)
    key, at = read_optional_text(data, at)
    return ActorSpecifier(actor_id, generation, key), at


def write_error(error: ErrorInfo) -> bytes:
    metadata = None if error.metadata is None else value_to_cbor(error.metadata, checked=True)
    return b"".join(
        (write_text(error.group), write_text(error.code), write_text(error.message), write_optional_data(metadata))
    )


def write_actor(actor: ActorSpecifier | None) -> bytes:
    if actor is None:
        return b"\x00"
    return b"".join((b"\x01", write_text(actor.actor_id), write_uint(actor.generation), write_optional_text(actor.key)))
