"""Writes the JSON Schemas of the envelopes to `schemas/`: `python -m host.bridge.schemas [directory]`.

They are generated from the Structs, so that an author of a guest in any language reads what the host really accepts; a
test fails when the files and the Structs have drifted apart.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from host.bridge.envelopes import CallError, HttpReply, StartReply, Turn, TurnReply
from host.bridge.host_calls import HOST_CALLS

__all__ = ["documents", "main", "render"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ROOT = Path(__file__).resolve().parents[2] / "schemas"


def documents() -> dict[str, dict[str, Any]]:
    """The schema documents by file name."""
    return {
        "turn.json": _document("A turn: host to guest", Turn),
        "turn_reply.json": _document("The reply of a turn: guest to host", TurnReply),
        "start_reply.json": _document("The result of a start event", StartReply),
        "http_reply.json": _document("The result of a request event", HttpReply),
        "host_calls.json": _host_calls(),
    }


def render(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"


def main(directory: Path = ROOT) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (directory / name).write_text(render(document), encoding="utf-8")


def _document(title: str, type: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([type], ref_template="#/$defs/{name}")
    return {"$schema": DRAFT, "title": title, **schema, "$defs": components}


def _host_calls() -> dict[str, Any]:
    """Requests and the `ok` of their answers by name; an answer is {"ok": ...} or {"error": CallError}."""
    types = [CallError] + [part for row in HOST_CALLS for part in (row.struct, row.ok)]
    (error, *schemas), components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    calls = {
        row.name: {"capability": row.capability, "request": schemas[2 * at], "ok": schemas[2 * at + 1]}
        for at, row in enumerate(HOST_CALLS)
    }
    requests = [call["request"] for call in calls.values()]
    return {
        "$schema": DRAFT,
        "title": "Host calls: a request, and the answer to each",
        "oneOf": requests,
        "calls": calls,
        "error": error,
        "$defs": components,
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
