"""What the demo does and checks: the main job of a host, end to end, on a real one.

Each step says what it has seen; a step that sees something else raises `demo/check_failed` and the demo ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from host.cli.demo_host import HostProcess
from host.cli.demo_site import Site
from host.client.client import Client
from host.client.socket import ActorSocket, SocketClosed
from host.model.clock import Clock
from host.model.errors import DormiceError, TenantError
from host.model.snapshot import ActorSnapshot

__all__ = ["NAME", "ROOM", "Story"]

NAME = "chat_room"
ROOM = "lobby"
STEP_SECONDS = 30.0

Say = Callable[[str], None]
T = TypeVar("T")


class Story:
    """`say` gets a line for everything that was seen."""

    def __init__(self, host: HostProcess, site: Site, source: bytes, clock: Clock, say: Say) -> None:
        self._host = host
        self._site = site
        self._source = source
        self._clock = clock
        self._say = say
        self._sent: dict[str, int] = {"ada": 0, "bob": 0}
        self._said: list[str] = []
        self.actor_id = ""

    async def tell(self) -> ActorSnapshot:
        """From an empty data directory to a host that was killed and lost nothing; the snapshot at the end."""
        await self._host.start()
        self._say(f"a host runs at {self._host.endpoint} (pid {self._host.pid})")
        async with Client(self._host.endpoint) as client:
            await self._within("deploying", self._deploy(client))
            await self._within("chatting", self._live(client))
            return await self._within("looking at what is left", self._aftermath(client))

    async def _within(self, what: str, step: Coroutine[Any, Any, T]) -> T:
        try:
            with self._clock.fail_after(STEP_SECONDS):
                return await step
        except TimeoutError:
            raise _failed(f"{what} took longer than {STEP_SECONDS:g} s\n{self._host.log_tail()}") from None

    async def _deploy(self, client: Client) -> None:
        digest = sha256(self._source).hexdigest()
        made = await client.deploy_url(NAME, self._site.url, digest)
        _check(made.module == f"sha256:{digest}", "the definition runs the bytes of that hash")
        self._say(f"it loaded {self._site.url} and checked its sha256 {digest[:16]}…: {NAME} version {made.version}")
        actor = await client.get_or_create(NAME, [ROOM])
        self.actor_id = actor.actor_id
        self._say(f"actor {actor.actor_id} is the room {ROOM!r}")

    async def _live(self, client: Client) -> None:
        async with (
            await client.connect(self.actor_id, "ada") as ada,
            await client.connect(self.actor_id, "bob") as bob,
        ):
            sockets = {"ada": ada, "bob": bob}
            for name, socket in sockets.items():
                welcome = await _frame(socket)
                _check(welcome.get("type") == "welcome", f"{name} is welcomed, not sent {welcome}")
            self._say("two WebSockets are open, each was welcomed once")

            await self._chat(sockets, "ada", ["hello"])
            await self._chat(sockets, "bob", ["hi ada"])
            await self._chat(sockets, "ada", ["how are you?"])
            self._say("three messages reached both, numbered per connection")
            before = await client.snapshot(self.actor_id)
            self._check_connections(before)

            await client.call(self.actor_id, "triggerSleep")
            await client.sleep(self.actor_id)  # returns once it does
            asleep = await client.snapshot(self.actor_id)
            _check(asleep.lifecycle == "asleep", f"the actor sleeps, and is not {asleep.lifecycle}")
            self._check_connections(asleep)
            self._say("the actor sleeps: its isolate is gone, both sockets are still open")

            await self._chat(sockets, "ada", ["are you there?", "hello?", "wake up!"])
            await self._chat(sockets, "bob", ["good morning"])
            awake = await client.snapshot(self.actor_id)
            _check(awake.lifecycle == "running", f"the actor runs, and is not {awake.lifecycle}")
            _check(awake.epoch > before.epoch, "the actor was started anew")
            _check(awake.generation == before.generation, "it is the same actor")
            _check(_ids(awake) == _ids(before), "its connections are the same ones")
            self._check_connections(awake)
            self._say(
                "three messages sent while it slept woke it; each arrived once, in order, with indexes that go on "
                f"({', '.join(f'{name}: msgIndex {index}' for name, index in self._sent.items())})"
            )

            await self._host.kill()
            for name, socket in sockets.items():
                await self._check_cut(name, socket)
            self._say("kill -9: the host is gone, and with it the two connections")
        await self._host.start()
        self._say(f"the host runs again (pid {self._host.pid}) on the same data directory")
        await self._lost_nothing(client, awake)

    async def _lost_nothing(self, client: Client, before: ActorSnapshot) -> None:
        actor = await client.get_or_create(NAME, [ROOM])
        _check(actor.actor_id == self.actor_id, "the room is the same actor")
        history = await client.call(self.actor_id, "history")
        _check(_texts(history) == self._said, f"the history is complete: {self._said}, found {_texts(history)}")
        async with await client.connect(self.actor_id, "carol") as carol:
            welcome = await _frame(carol)
            _check(_texts(welcome.get("history")) == self._said, "who comes later is told all of it")
        after = await client.snapshot(self.actor_id)
        _check(after.epoch > before.epoch, "the actor was started anew")
        _check(after.kv.keys >= len(self._said), "its KV holds every message")
        self._say(f"nothing durable was lost: all {len(self._said)} messages are in the room's history")

    async def _aftermath(self, client: Client) -> ActorSnapshot:
        _check(self._site.hits == 1, f"the module was fetched once, not {self._site.hits} times")
        self._say("the module was fetched once: no wake and no restart loads it again")
        return await client.snapshot(self.actor_id)

    async def _chat(self, sockets: dict[str, ActorSocket], who: str, texts: list[str]) -> None:
        """Sends all texts, then checks that every socket gets each of them once, in order, with the right index."""
        for text in texts:
            await sockets[who].send(text)
        self._said.extend(texts)
        first = self._sent[who] + 1
        self._sent[who] += len(texts)
        wanted = [(text, index) for index, text in enumerate(texts, first)]
        for name, socket in sockets.items():
            frames = [await _frame(socket) for _ in texts]
            got = [(frame.get("text"), frame.get("index")) for frame in frames]
            _check(got == wanted, f"{name} gets {wanted}, not {got}")

    def _check_connections(self, snapshot: ActorSnapshot) -> None:
        found = {conn.path.partition("?")[0].strip("/"): conn.msg_index for conn in snapshot.connections}
        _check(found == self._sent, f"the snapshot has the msgIndex of each connection: {self._sent}, found {found}")

    async def _check_cut(self, name: str, socket: ActorSocket) -> None:
        try:
            frame = await socket.receive()
        except SocketClosed:
            return
        raise _failed(f"{name} got {frame!r} that nobody sent")


async def _frame(socket: ActorSocket) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await socket.receive(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise _failed(f"a frame of the room is not what it should be: {error}") from error
    except SocketClosed as closed:
        raise _failed(str(closed)) from closed


def _texts(history: Any) -> list[Any]:
    return [entry.get("text") for entry in history] if isinstance(history, list) else []


def _ids(snapshot: ActorSnapshot) -> set[str]:
    return {conn.conn_id for conn in snapshot.connections}


def _check(seen: bool, what: str) -> None:
    if not seen:
        raise _failed(f"expected: {what}")


def _failed(message: str) -> DormiceError:
    return TenantError("demo", "check_failed", message)
