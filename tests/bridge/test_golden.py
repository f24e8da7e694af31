"""The files in `schemas/`: equal to what the code makes, and understood by it, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from host.bridge import schemas
from host.bridge.codec import Codec
from host.bridge.envelopes import Event
from host.bridge.host_calls import HOST_CALLS
from tests.bridge import golden
from tests.bridge.support import decode_answer, decode_turn, encode_struct
from tests.bridge.test_codec import plain

JSON, FRAMED = Codec("json"), Codec("framed")
STRUCTS = {row.name: row.struct for row in HOST_CALLS}


def stored(name: str) -> list[dict[str, Any]]:
    found = msgspec.json.decode((golden.GOLDEN / name).read_bytes())
    assert isinstance(found, list)
    return found


def test_the_schemas_have_not_drifted(tmp_path: Path) -> None:
    schemas.main(tmp_path)
    fresh = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in schemas.ROOT.glob("*.json")}
    assert kept == fresh, "run: python -m host.bridge.schemas"


@pytest.mark.parametrize("name", golden.documents())
def test_the_golden_vectors_have_not_drifted(name: str) -> None:
    text = (golden.GOLDEN / name).read_text(encoding="utf-8")
    assert text == golden.render(golden.documents()[name]), "the ABI has changed: python -m tests.bridge.golden"


def test_every_event_and_every_call_has_a_vector() -> None:
    types = {str(event.__struct_config__.tag) for event in Event.__args__}
    assert {vector["type"] for vector in stored("events.json")} == types
    assert {vector["call"] for vector in stored("calls.json")} == set(STRUCTS)


@pytest.mark.parametrize("vector", stored("events.json"), ids=lambda vector: vector["name"])
def test_events_are_the_same_in_both_codecs(vector: dict[str, Any]) -> None:
    text, frame = vector["json"].encode(), bytes.fromhex(vector["framed"])
    turn = decode_turn(text, framed=False)
    assert plain(decode_turn(frame, framed=True)) == plain(turn)
    assert JSON.encode_turn(turn) == text
    assert FRAMED.encode_turn(turn) == frame
    jsonschema.validate(msgspec.json.decode(text), schemas.documents()["turn.json"])


@pytest.mark.parametrize("vector", stored("calls.json"), ids=lambda vector: vector["name"])
def test_calls_are_the_same_in_both_codecs(vector: dict[str, Any]) -> None:
    text, frame = vector["request"]["json"].encode(), bytes.fromhex(vector["request"]["framed"])
    call = JSON.decode_call(text)
    assert type(call) is STRUCTS[vector["call"]]
    assert plain(FRAMED.decode_call(frame)) == plain(call)
    assert encode_struct(call, framed=False) == text
    assert encode_struct(call, framed=True) == frame
    jsonschema.validate(msgspec.json.decode(text), schemas.documents()["host_calls.json"])


@pytest.mark.parametrize("vector", stored("calls.json"), ids=lambda vector: vector["name"])
def test_answers_are_the_same_in_both_codecs(vector: dict[str, Any]) -> None:
    text, frame = vector["answer"]["json"].encode(), bytes.fromhex(vector["answer"]["framed"])
    struct = STRUCTS[vector["call"]]
    answer = decode_answer(text, struct, framed=False)
    assert plain(decode_answer(frame, struct, framed=True)) == plain(answer)
    assert JSON.encode_ok(answer) == text
    assert FRAMED.encode_ok(answer) == frame
    document = schemas.documents()["host_calls.json"]
    schema = {**document["calls"][vector["call"]]["ok"], "$defs": document["$defs"]}
    jsonschema.validate(msgspec.json.decode(text)["ok"], schema)


@pytest.mark.parametrize("vector", stored("replies.json"), ids=lambda vector: vector["name"])
def test_replies_are_the_same_in_both_codecs(vector: dict[str, Any]) -> None:
    framed = FRAMED.decode_reply(bytes.fromhex(vector["framed"]))
    if vector["name"].startswith("http"):
        for settled in framed.settled:
            framed.http(settled)
    framed.finish()
    if vector["json"] is not None:
        json = JSON.decode_reply(vector["json"].encode())
        assert plain(json.settled) == plain(framed.settled)
        assert json.pending == framed.pending
        jsonschema.validate(msgspec.json.decode(vector["json"]), schemas.documents()["turn_reply.json"])


@pytest.mark.parametrize("vector", stored("errors.json"), ids=lambda vector: vector["name"])
def test_errors_are_the_same_in_both_codecs(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["framed"])
    assert frame[4:].decode() == vector["json"]
    error = golden.ERRORS[vector["name"]]
    assert (JSON.encode_error(error).decode(), FRAMED.encode_error(error)) == (vector["json"], frame)
