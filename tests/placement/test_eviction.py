"""Room for who comes: idle actors sleep earlier, the least recently used first, and nobody but the memory notices."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from host.model.errors import CallerError, DormiceError
from host.model.limits import Limits
from host.placement.memory_probe import MemoryReading, read_memory
from host.placement.memory_watch import BATCH, MemoryWatch
from host.placement.reserve import Reserve, parse_reserve
from tests.actor.harness import TENANT, CodeShelf, Harness, open_harness

pytestmark = pytest.mark.anyio

QUIET = "import {actor} from 'isolate'; export default actor({actions: {ok: () => 1}});"
GIB = 1024**3


class Machine:
    """Memory of which each actor takes one part in a hundred."""

    def __init__(self, h: Harness, free: int = 100) -> None:
        self._h = h
        self.free = free
        self.known = True

    def read(self) -> MemoryReading | None:
        awake = sum(self._h.placement.directory.counts().values())
        return MemoryReading((self.free - awake) * GIB, 100 * GIB) if self.known else None


async def crowd(h: Harness, size: int) -> list[str]:
    await h.define(QUIET)
    actors = [await h.actor(key=str(number)) for number in range(size)]
    for actor in actors:
        await h.call(actor, "ok")
    return actors


def awake(h: Harness, actors: list[str]) -> list[int]:
    return [number for number, actor in enumerate(actors) if h.state(actor) != "absent"]


def watch_of(h: Harness, machine: Machine, reserve: Reserve) -> MemoryWatch:
    return MemoryWatch(h.placement.directory, h.clock, h.metrics, machine.read, reserve)


# --- a full node -----------------------------------------------------------------------------------------------------


async def test_on_a_full_node_the_least_recently_used_idle_actor_makes_room(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=3)) as h:
        actors = await crowd(h, 3)
        await h.call(actors[0], "ok")  # now the last one used
        late = await h.actor(key="late")
        assert await h.call(late, "ok") == 1
        await h.rest()
        assert awake(h, [*actors, late]) == [0, 2, 3]
        assert h.count("evictions", "node.full") == 1
        assert h.count("starts_refused") == 0
        # and back again, in favour of the next
        assert await h.call(actors[1], "ok") == 1
        await h.rest()
        assert awake(h, [*actors, late]) == [0, 1, 3]


async def test_what_is_busy_is_left_alone_and_who_comes_is_refused_then(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=2)) as h:
        working = await h.probe()
        late = await h.actor(key="late")
        _, end = await h.busy()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(h.call, working, "act", "wait:5000")
            await h.rest()
            error = await h.error(late, "get")
            assert (error.name, error.metadata) == ("node/full", b'{"limit":"actors","used":2,"allowed":2}')
            await h.advance(6)
        assert (await h.call(late, "get"))["n"] == 0
        await end()


async def test_who_was_refused_to_a_caller_is_not_started_for_nobody_when_there_is_room(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        _, end = await h.busy()
        await h.define(QUIET, "b")
        told, woken = await h.actor("b", "told"), await h.actor("b", "woken")
        assert (await h.error(told, "ok")).name == "node/full"
        h.placement._wake_for_alarm(woken)
        started = (await h.placement.usage(TENANT)).starts
        await end()
        assert (h.state(told), h.state(woken)) == ("absent", "running")
        await h.advance(60)
        assert (await h.placement.usage(TENANT)).starts == started + 1


async def test_an_evicted_actor_keeps_its_sockets_and_its_messages(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        chatty = await h.probe()
        socket = await h.open(chatty)
        socket.send("echo 1")
        await h.rest()
        await h.define(QUIET, "b")
        other = await h.actor("b", "x")
        for number in range(2, 12):
            assert await h.call(other, "ok") == 1
            await h.rest()
            assert h.state(chatty) == "absent"
            socket.send(f"echo {number}")
            await h.rest()
        assert socket.frames == ["welcome", *(f"echo {number}" for number in range(1, 12))]
        assert (socket.closed, await h.index(socket)) == (None, 11)
        assert (await h.document(chatty))["got"] == [f"echo {number}" for number in range(1, 12)]
        assert h.count("evictions", "node.full") == 20


async def test_who_is_called_back_while_leaving_does_not_make_the_node_grow_without_end(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=80)) as h:
        actors = await crowd(h, 80)
        more = [await h.actor(key=f"more {number}") for number in range(80)]
        h.storage.hold()  # nobody gets to sleep
        answers: list[str] = []

        async def ask(actor: str) -> None:
            try:
                await h.call(actor, "ok")
                answers.append("ok")
            except DormiceError as error:
                answers.append(error.name)

        async with anyio.create_task_group() as tasks:
            for new, old in zip(more, actors, strict=True):
                tasks.start_soon(ask, new)
                await h.rest()
                tasks.start_soon(ask, old)  # it has just been asked to leave
                await h.rest()
            assert len(h.placement.directory) == 80 + 64
            h.storage.release()
        assert (answers.count("node/full"), answers.count("ok")) == (16, 144)


# --- memory ----------------------------------------------------------------------------------------------------------


async def test_under_the_watermark_idle_actors_sleep_least_recently_used_first_until_there_is_enough(
    h: Harness,
) -> None:
    actors = await crowd(h, 30)
    for actor in actors[:10]:
        await h.call(actor, "ok")
    machine = Machine(h)
    watch = watch_of(h, machine, Reserve(percent=10))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        await h.advance(3)
        assert (len(awake(h, actors)), watch.short) == (30, False)
        machine.free = 35  # 5 are left, 10 are to stay
        await h.advance(1)
        tasks.cancel_scope.cancel()
    # one batch is more than was needed here: what counts is that nobody is kept who could go
    assert awake(h, actors) == []
    assert h.count("evictions", "memory") == 30
    assert h.count("memory_short", "memory_reserve") == 1
    for actor in actors:
        assert await h.call(actor, "ok") == 1


async def test_it_goes_in_batches_and_the_oldest_go_first(h: Harness) -> None:
    actors = await crowd(h, 5)
    await h.call(actors[0], "ok")
    directory = h.placement.directory
    assert directory.evict_idle(2, "memory") == 2
    await h.rest()
    assert awake(h, actors) == [0, 3, 4]
    assert directory.evict_idle(BATCH, "memory") == 3
    assert directory.evict_idle(BATCH, "memory") == 0  # they are on their way
    await h.rest()
    assert awake(h, actors) == []


async def test_memory_that_is_short_costs_no_socket_and_no_message(h: Harness) -> None:
    actor = await h.probe()
    sockets = [await h.open(actor) for _ in range(3)]
    await h.call(actor, "alarm", "later", 60_000, None)
    machine = Machine(h, free=5)
    watch = watch_of(h, machine, Reserve(percent=10))
    for number in range(5):
        assert watch.look() == 1
        for socket in sockets:
            socket.send(f"echo {number}")  # while it stops
        await h.rest()
    assert [socket.frames for socket in sockets] == [["welcome", *(f"echo {number}" for number in range(5))]] * 3
    assert [socket.closed for socket in sockets] == [None] * 3
    watch.look()
    await h.rest()
    assert h.state(actor) == "absent"
    await h.advance(61)
    assert [fired[0] for fired in (await h.document(actor))["fired"]] == ["later"]


async def test_what_is_busy_is_not_evicted_for_memory(h: Harness) -> None:
    busy, end = await h.busy()
    working = await h.probe()
    watch = watch_of(h, Machine(h, free=1), Reserve(percent=10))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.call, working, "act", "wait:5000")
        await h.rest()
        assert watch.look() == 0
        assert (h.state(busy), h.state(working)) == ("running", "running")
        await h.advance(6)
    assert watch.look() == 1
    await h.rest()
    assert (h.state(busy), h.state(working)) == ("running", "absent")
    await end()


async def test_where_nothing_is_known_or_wanted_nothing_is_done(h: Harness) -> None:
    actors = await crowd(h, 1)
    machine = Machine(h, free=1)
    machine.known = False
    assert watch_of(h, machine, Reserve(percent=10)).look() == 0
    with anyio.fail_after(5):
        await watch_of(h, machine, Reserve()).run()  # is over at once
    assert awake(h, actors) == [0]


@pytest.mark.parametrize(
    ("text", "of_gib"),
    [
        ("10%", GIB // 10),
        ("0", 0),
        ("0%", 0),
        ("512M", 512 * 1024**2),
        ("2g", 2 * GIB),
        ("123", 123),
        (" 5% ", GIB // 20),
    ],
)
def test_a_reserve_is_a_share_or_bytes(text: str, of_gib: int) -> None:
    assert parse_reserve(text).of(GIB) == of_gib


@pytest.mark.parametrize("text", ["", "%", "91%", "-1", "1.5G", "10 percent", "M", "\u0661%", "9" * 20])
def test_a_reserve_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CallerError, match="memory-reserve"):
        parse_reserve(text)


# --- the probe -------------------------------------------------------------------------------------------------------


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n"


def test_the_machine_says_what_is_available(tmp_path: Path) -> None:
    assert read_memory(tmp_path) is None
    root = tree(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n"})
    assert read_memory(root) == MemoryReading(400 * 1024, 1000 * 1024)


def test_a_control_group_that_leaves_less_counts_and_so_do_those_around_it(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "1:memory:/old\n0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/memory.current": "5\n",
            "sys/fs/cgroup/a/memory.max": "300000\n",
            "sys/fs/cgroup/a/memory.current": "250000\n",
            "sys/fs/cgroup/a/memory.stat": "anon 200000\ninactive_file 20000\n",
        },
    )
    assert read_memory(root) == MemoryReading(70_000, 300_000)
    (root / "sys/fs/cgroup/a/memory.current").write_text("400000\n")
    assert read_memory(root) == MemoryReading(0, 300_000)


@pytest.mark.parametrize("text", ["", "nonsense", "MemTotal: x kB\nMemAvailable:\n", "\x00\xff"])
def test_a_machine_that_says_something_else_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_memory(tree(tmp_path, {"proc/meminfo": text})) is None


def test_this_machine_can_be_read() -> None:
    found = read_memory()
    assert found is None or 0 < found.available <= found.total
