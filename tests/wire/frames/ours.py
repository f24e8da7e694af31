"""What this host writes, for the client of others to read: `make_vectors.mjs` records what it sees in them."""

from __future__ import annotations

import json
from typing import Any

from host.model.errors import ErrorInfo
from host.wire.frames.bodies import encode_action_result, encode_http_error
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.frames.errors import ActorSpecifier
from host.wire.frames.to_client import encode_action_response, encode_error, encode_event, encode_init
from host.wire.values import UNDEFINED, ArrayBuffer, BigInt, ValueSet, from_python

__all__ = ["OUTPUTS", "ours"]

OUTPUTS: tuple[Any, ...] = (
    None,
    {"a": [1, -1, 0.5, True, "text 🐭", {"deep": []}]},
    [2**31, 2**32, 2**40 + 1, -(2**32), -(2**33), 2**53 - 1, 1e300],
    [BigInt(1), BigInt(-(2**40)), 2**70],
    [b"\x01\x02\xff", ArrayBuffer(b"\x07")],
    UNDEFINED,
    ValueSet((1, "a", (2,))),
    [["$dollar", 1], ["$$more", 2]],
    ["x" * 300, list(range(30))],
)
ERROR = ErrorInfo("user", "full", "The room is full", metadata=b'{"max":8,"when":1700000000000}')
PLAIN = ErrorInfo("actor", "not_found", "there is no such actor")
ACTOR = ActorSpecifier("actor-1", 3, "a/b")


def ours() -> list[dict[str, str]]:
    """Rows of `kind`, `encoding`, and `text` or `hex`."""
    return [row for encoding in ENCODINGS for row in _rows(encoding)]


def _rows(encoding: Encoding) -> list[dict[str, str]]:
    def row(kind: str, data: str | bytes) -> dict[str, str]:
        shown = {"text": data} if isinstance(data, str) else {"hex": data.hex()}
        return {"kind": kind, "encoding": encoding, **shown}

    rows = [
        row("frame", encode_init(encoding, "actor-1", "conn-1")),
        row("frame", encode_event(encoding, "news", from_python([1, {"at": 1_700_000_000_000}]))),
        row("frame", encode_event(encoding, "n" * 300, from_python(["$first", 1]))),
        row("frame", encode_error(encoding, ERROR, action_id=7, actor=ACTOR)),
        row("frame", encode_error(encoding, PLAIN, action_id=2**64 - 1, actor=ActorSpecifier("actor-1", 1))),
        row("frame", encode_error(encoding, PLAIN)),
        row("error", encode_http_error(encoding, ERROR, ACTOR)),
        row("error", encode_http_error(encoding, PLAIN)),
    ]
    for number, output in enumerate(OUTPUTS):
        rows.append(row("frame", encode_action_response(encoding, number * 100, from_python(output))))
        rows.append(row("action_result", encode_action_result(encoding, from_python(output))))
    return rows


if __name__ == "__main__":
    print(json.dumps(ours()))
