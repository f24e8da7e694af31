"""Gateway addresses: what is named, what is stripped, what is refused."""

from __future__ import annotations

import base64

import cbor2
import pytest

from host.gateway.actors import raw_route_path
from host.gateway.targets import DirectTarget, QueryTarget, Target, parse_target
from host.model.errors import DormiceError


def parse(path: str, query: str = "") -> Target:
    return parse_target(path, query, max_input=1_000)


def test_a_direct_address_names_an_id_and_may_carry_a_token() -> None:
    target = parse("/gateway/abc@to%2Fken/request/a%2Fb/c", "x=1&y=%26")
    assert target.actor == DirectTarget("abc")
    assert target.tokens == ("to/ken",)
    assert (target.kind, target.rest, target.url) == ("request", "/a%2Fb/c", "/a%2Fb/c?x=1&y=%26")


@pytest.mark.parametrize("path", ["/gateway/abc/request", "/gateway/abc/request/"])
def test_a_request_for_the_root_is_a_slash(path: str) -> None:
    assert parse(path).url == "/"


def test_a_query_address_is_stripped_of_every_parameter_of_its_own() -> None:
    target = parse(
        "/gateway/room/websocket/x",
        "a=1&rvt-namespace=acme&b=2&rvt-method=get&rvt-key=p,q&rvt-runner=r&rvt%2Dfuture=1&rvt-token=t&c",
    )
    assert target.actor == QueryTarget("get", "acme", "room", ("p", "q"), None)
    assert (target.query, target.tokens) == ("a=1&b=2&c", ("t",))


def test_session_parameters_never_reach_an_actor() -> None:
    assert parse("/gateway/abc/websocket/", "dm-session=secret&x=1&dm-last-seen=2&dm-next=3").url == "/?x=1"


def test_creation_input_is_cbor_in_the_url_alphabet() -> None:
    text = base64.urlsafe_b64encode(cbor2.dumps({"a": b"\xff\xfe\xfd"})).decode().rstrip("=")
    target = parse("/gateway/room/action/x", f"rvt-method=getOrCreate&rvt-input={text}")
    assert isinstance(target.actor, QueryTarget)
    assert target.actor.key == ()
    assert target.actor.input == b'{"a":["$Uint8Array","//79"]}'


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("rvt-method=get&rvt-method=get", "guard/query_duplicate_param"),
        ("rvt-method=get&rvt%2Dkey=a&rvt-key=b", "guard/query_duplicate_param"),
        ("rvt-key=a", "guard/query_missing_param"),
        ("rvt-method=create", "guard/query_invalid_param"),
        ("rvt-method=get&rvt-input=oA", "guard/query_invalid_param"),
        ("rvt-method=getOrCreate&rvt-input=%00", "actor/invalid_request"),
        ("rvt-method=getOrCreate&rvt-input=oP8", "request/invalid"),
        ("rvt-method=getOrCreate&rvt-input=" + "A" * 1_400, "actor/input_too_large"),
        ("rvt-method=get&rvt-namespace=UPPER", "request/invalid"),
        ("rvt-method=get&rvt-key=" + "k" * 129, "actor/key_too_large"),
    ],
)
def test_a_query_address_that_is_wrong_is_refused(query: str, error: str) -> None:
    with pytest.raises(DormiceError) as refused:
        parse("/gateway/room/action/x", query)
    assert refused.value.name == error


def test_a_query_address_needs_a_name() -> None:
    with pytest.raises(DormiceError) as refused:
        parse("/gateway//action/x", "rvt-method=get")
    assert refused.value.name == "actor/empty_name"


def test_the_path_below_a_mount_point_keeps_its_escapes() -> None:
    scope = {"path": "/my host/gateway/a/b", "raw_path": b"/my%20host/gateway/a%2Fb", "root_path": "/my host"}
    assert raw_route_path(scope) == "/gateway/a%2Fb"
    assert raw_route_path({"path": "/gateway/ü", "root_path": ""}) == "/gateway/%C3%BC"
    assert raw_route_path({"path": "/hostess", "raw_path": b"/hostess", "root_path": "/host"}) == "/hostess"
