"""/connect sockets at the gateway: their encoding, each frame decoded once and numbered, and frames that are none."""

from __future__ import annotations

import cbor2
import msgspec
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from host.gateway.auth import AuthPolicy
from host.model.errors import CallerError
from host.model.limits import Limits
from host.model.tunnel import ActionRequest, Opened, SocketClosed, SocketProtocol, Subscription
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.frames.to_server import encode_to_server
from host.wire.values import UNDEFINED, from_python
from tests.gateway.support import World
from tests.gateway.test_sockets import Client, holding, opened, settle

pytestmark = pytest.mark.anyio

CALL = ActionRequest(2**64 - 1, "add", b'[["$BigInt","1"]]')


@pytest.fixture
def world() -> World:
    return World(AuthPolicy(dev=True), Limits(incoming_messages=4, incoming_buffer=500, message=500))


def spoken(protocol: SocketProtocol) -> Opened:
    return replace(opened(), protocol=protocol)


def say(client: Client, encoding: Encoding, *messages: ActionRequest | Subscription) -> None:
    for message in messages:
        frame = encode_to_server(encoding, message)
        if isinstance(frame, str):
            client.text(frame)
        else:
            client.data(frame)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_frames_are_decoded_once_numbered_and_kept_until_they_are_acknowledged(
    world: World, encoding: Encoding
) -> None:
    client, sent = Client(), (CALL, Subscription("orders", True), CALL)
    async with holding(world.sockets, client, spoken(encoding)):
        say(client, encoding, *sent)
        await settle()
        posted = world.service.messages
        assert [(message.index, message.data) for message in posted] == list(enumerate(sent, 1))
        world.sockets.ack("c1", 1)
        assert world.sockets.rebind("c1", 1)
        again = world.service.messages[3:]
        assert [message is first for message, first in zip(again, posted[1:], strict=True)] == [True, True]


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_frame_that_is_none_closes_its_connection_and_the_actor_is_told(
    world: World, encoding: Encoding
) -> None:
    client = Client()
    async with holding(world.sockets, client, spoken(encoding)):
        say(client, encoding, CALL)
        client.text("hello")
        say(client, encoding, CALL)
        await settle()
        assert client.close == (1007, "ws.malformed_message")
    assert len(world.service.messages) == 1
    assert world.service.closed == [SocketClosed("a1", "c1", 1007, "ws.malformed_message", False)]
    assert world.metrics.counter("connections_closed", "ws.malformed_message") == 1


async def test_what_grows_when_it_is_decoded_counts_as_large_as_it_is_kept(world: World) -> None:
    client = Client()
    args = [cbor2.undefined] * 60
    frame = cbor2.dumps({"body": {"tag": "ActionRequest", "val": {"id": 1, "name": "x", "args": args}}})
    assert len(frame) < 200 < 500 < len(from_python([UNDEFINED] * 60))
    async with holding(world.sockets, client, spoken("cbor")):
        client.data(frame)
        say(client, "cbor", CALL)
        await settle()
        assert len(world.service.messages) == 1  # the second is not read before the first is acknowledged
        world.sockets.ack("c1", 1)
        await settle()
        assert len(world.service.messages) == 2


async def test_of_arguments_that_no_action_may_have_no_more_is_kept_than_shows_it() -> None:
    """They may be sixteen times as large as on the wire, and wait for as long as their actor takes to start."""
    world = World(AuthPolicy(dev=True), Limits(action=300, message=500))
    client = Client()
    frame = cbor2.dumps(
        {"body": {"tag": "ActionRequest", "val": {"id": 1, "name": "x", "args": [cbor2.undefined] * 400}}}
    )
    async with holding(world.sockets, client, spoken("cbor")):
        client.data(frame)
        await settle()
        (message,) = world.service.messages
        assert isinstance(message.data, ActionRequest)
        assert (message.data.id, message.data.name, len(message.data.args)) == (1, "x", 301)


@pytest.mark.parametrize(
    ("offered", "protocol"),
    [
        ((), "json"),
        (("rivet",), "json"),
        (("rivet", "rivet_encoding.cbor"), "cbor"),
        (("rivet", "rivet_encoding.bare", "rivet_conn_params.%7B%22who%22%3A%22ann%22%7D"), "bare"),
    ],
)
async def test_the_encoding_and_the_parameters_come_as_sub_protocols(
    world: World, offered: tuple[str, ...], protocol: str
) -> None:
    record = await world.actor()
    async with world.serving() as server:
        address = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/connect"
        names = [Subprotocol(name) for name in offered]
        async with connect(address, subprotocols=names or None, proxy=None) as socket:
            assert socket.subprotocol == ("rivet" if offered else None)
            assert socket.response is not None
            assert socket.response.headers["x-rivet-actor"] == record.actor_id
            assert len(socket.response.headers["x-rivet-ray-id"]) == 16
            await world.service.until(lambda: bool(world.service.events))
    (told,) = [event for event in world.service.events if isinstance(event, Opened)]
    assert told.protocol == protocol
    assert told.params == (b'{"who":"ann"}' if len(offered) == 3 else None)


async def test_an_encoding_that_there_is_not_and_an_actor_that_takes_none_are_refused_before_the_handshake(
    world: World,
) -> None:
    record = await world.actor()
    async with world.serving() as server:
        address = f"ws://127.0.0.1:{server.port}/gateway/{record.actor_id}/connect"

        async def told(*names: str) -> tuple[int, str]:
            with pytest.raises(InvalidStatus) as refused:
                await connect(address, subprotocols=[Subprotocol(name) for name in names], proxy=None)
            body = msgspec.json.decode(refused.value.response.body or b"")
            return refused.value.response.status_code, f"{body['group']}/{body['code']}"

        assert await told("rivet", "rivet_encoding.xml") == (400, "request/invalid")
        world.service.refuse_open = CallerError("actor", "method_not_allowed", "this actor takes none")
        assert await told("rivet") == (405, "actor/method_not_allowed")
    assert world.service.events == []


async def test_parameters_over_http_go_with_the_action(world: World) -> None:
    record = await world.actor()
    async with world.client() as http:
        answer = await http.post(
            f"/gateway/{record.actor_id}/action/add", json={"args": []}, headers={"x-rivet-conn-params": '{"who":1}'}
        )
    assert answer.status_code == 200
    assert [call.params for call in world.service.calls] == [b'{"who":1}']
