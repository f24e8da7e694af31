"""The snapshot of an actor as a document: JSON, or CBOR of the same shape with the Values inside in their CBOR form."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from host.model.errors import DormiceError, ErrorInfo
from host.model.snapshot import ActorSnapshot
from host.wire.cbor import dumps
from host.wire.values import to_python

__all__ = ["error_document", "snapshot_as_cbor", "snapshot_as_json"]


def snapshot_as_json(snapshot: ActorSnapshot) -> bytes:
    return msgspec.json.encode(_document(snapshot))


def snapshot_as_cbor(snapshot: ActorSnapshot) -> bytes:
    return dumps(_plain(_document(snapshot)))


def _document(snapshot: ActorSnapshot) -> dict[str, Any]:
    document = msgspec.structs.asdict(snapshot)
    document["last_error"] = error_document(snapshot.last_error)
    return document


def error_document(error: ErrorInfo | None) -> dict[str, Any] | None:
    if error is None:
        return None
    shown: dict[str, Any] = {"group": error.group, "code": error.code, "message": error.message}
    if error.metadata is not None:
        shown["metadata"] = Raw(error.metadata)
    return shown


def _plain(item: Any) -> Any:
    """Structs and Values as Python objects. A Value that no client may be sent (tags for state only) stays text."""
    if isinstance(item, Raw):
        raw = bytes(item)
        try:
            return to_python(raw)
        except DormiceError:
            return raw.decode("utf-8", "replace")
    if isinstance(item, msgspec.Struct):
        item = msgspec.structs.asdict(item)
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    return item
