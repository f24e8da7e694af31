"""How a destroy ends an actor: it hears of its end if it can, it ends within its grace, and nothing of it is left."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import anyio
import msgspec
import pytest

from host.actor.destroying import Destroying
from host.model.effects import KvPut
from host.model.errors import CallerError, DormiceError, ErrorInfo, UnavailableError
from host.model.limits import Limits
from host.model.records import ActorImage
from host.placement.destroys import MAX_RETRY_MS
from host.static.actor import Actor, action
from host.static.spec import spec_of
from host.storage.driver import Driver
from tests.actor.fake_gateway import Socket
from tests.actor.harness import PROBE, TENANT, CodeShelf, Harness, open_harness
from tests.storage.conftest import sqlite_driver
from tests.virtual_clock import let_loop_settle

pytestmark = pytest.mark.anyio

GRACE = 5.0
START = 15.0
# Whether it is awake when its end comes.
AWAKE = pytest.mark.parametrize("awake", [True, False], ids=["awake", "asleep"])


def heard(h: Harness, actor: str) -> int:
    """How often the guest heard of its end, by what it wrote then."""
    units = (unit for unit in h.storage.units if unit.actor_id == actor)
    return sum(isinstance(op, KvPut) and op.key == b"heard of its end" for unit in units for op in unit.kv)


async def ready(h: Harness, *, awake: bool, end: str = "", limits: dict[str, int] | None = None) -> str:
    """A probe that was started once, and does `end` in its onDestroy."""
    actor = await h.probe(limits=limits)
    await h.call(actor, "put", "end", end) if end else await h.call(actor, "inc", 1)
    if not awake:
        await h.asleep(actor)
    return actor


async def nothing_left(h: Harness, actor: str) -> None:
    await h.rest()
    assert await h.storage.driver.hydrate(actor, destroying=True) is None
    assert await h.storage.driver.kv_size(actor) == (0, 0)
    assert list(await h.storage.driver.destroying(10)) == []
    assert actor not in h.placement.destroys
    assert h.state(actor) == "absent"
    with pytest.raises(CallerError, match="actor/not_found"):
        await h.placement.destroy(actor)
    record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
    assert (created, record.generation) == (True, 2)
    assert await h.call(record.actor_id, "inc", 1) == 1


# --- onDestroy --------------------------------------------------------------------------------------------------------


@AWAKE
async def test_an_actor_hears_of_its_end_once_and_what_it_writes_is_committed(h: Harness, awake: bool) -> None:
    actor = await ready(h, awake=awake)
    starts = h.storage.hydrations
    await h.destroy(actor)
    assert heard(h, actor) == 1
    assert h.storage.hydrations == starts + (not awake)
    assert h.count("actors_destroyed", "api") == 1
    assert h.count("destroys_cut") == h.count("commits_refused") == 0
    await nothing_left(h, actor)


async def test_one_that_never_started_is_not_started_for_its_end(h: Harness) -> None:
    actor = await h.probe()
    starts, jobs = h.storage.hydrations, h.executor.jobs
    await h.destroy(actor)
    assert (h.storage.hydrations, h.executor.jobs) == (starts, jobs)
    await nothing_left(h, actor)


async def test_one_that_has_failed_is_not_started_for_its_end(h: Harness) -> None:
    actor = await ready(h, awake=False)
    await h.call(actor, "put", "start", "throw")
    await h.asleep(actor)
    await h.error(actor, "get")
    jobs = h.executor.jobs
    await h.destroy(actor)
    assert h.executor.jobs == jobs
    assert heard(h, actor) == 0
    await nothing_left(h, actor)


@AWAKE
@pytest.mark.parametrize(
    ("end", "seconds", "cut"),
    [
        ("throw", 0, ""),
        ("wait:3000", 3, ""),
        ("crash", 0, "guest/budget"),
        ("waitcrash:3000", 3, "guest/budget"),
        ("never", GRACE, "grace"),
        ("wait:60000", GRACE, "grace"),
    ],
)
async def test_whatever_its_end_does_it_is_over_within_its_grace(
    h: Harness, awake: bool, end: str, seconds: float, cut: str
) -> None:
    actor = await ready(h, awake=awake, end=end)
    await h.destroy(actor, seconds if awake or cut != "grace" else START + GRACE)
    assert heard(h, actor) == (0 if end == "crash" else 1)
    assert h.count("destroys_cut", cut) == h.count("destroys_cut") == bool(cut)
    await nothing_left(h, actor)


@AWAKE
async def test_an_end_that_loops_is_cut_by_the_deadline_of_its_turn(shelf: CodeShelf, awake: bool) -> None:
    loops = PROBE.replace("async onDestroy(c) {", "async onDestroy(c) { for (;;) {}")
    assert loops != PROBE
    async with open_harness(shelf) as h:
        await h.define(loops, limits={"turn_deadline": 100})
        actor = await h.actor()
        await h.call(actor, "inc", 1)
        if not awake:
            await h.asleep(actor)
        await h.destroy(actor)
        assert h.count("destroys_cut", "guest/deadline") == 1
        assert await h.storage.driver.hydrate(actor, destroying=True) is None


@pytest.mark.parametrize(("how", "seconds"), [("throw", 0.0), ("crash", 0.0), ("never", START), ("wait:60000", START)])
async def test_one_whose_last_start_fails_is_destroyed_all_the_same(h: Harness, how: str, seconds: float) -> None:
    actor = await ready(h, awake=True)
    await h.call(actor, "put", "start", how)
    await h.asleep(actor)
    await h.destroy(actor, seconds)
    assert heard(h, actor) == 0
    assert h.count("destroys_cut") == 1
    await nothing_left(h, actor)


async def test_handlers_in_work_may_settle_within_the_grace(h: Harness) -> None:
    actor = await ready(h, awake=True)
    outcomes: list[str] = []

    async def ask(what: str) -> None:
        try:
            outcomes.append(await h.call(actor, "act", what))
        except Exception as error:  # noqa: BLE001 - whichever it is, it is looked at below
            outcomes.append(str(error).split(":")[0])

    async with anyio.create_task_group() as tasks:
        for what in ("wait:2000", "wait:30000"):
            tasks.start_soon(ask, what)
        await h.rest()
        await h.destroy(actor, GRACE)
    assert sorted(outcomes) == ["actor/aborted", "did wait:2000"]
    assert heard(h, actor) == 1
    await nothing_left(h, actor)


async def test_one_that_falls_asleep_just_then_is_hurried_and_hears_of_its_end(h: Harness) -> None:
    actor = await ready(h, awake=True)
    await h.call(actor, "put", "stop", "wait:60000")
    await h.call(actor, "sleep")
    await h.rest()
    assert h.state(actor) == "stopping"
    await h.destroy(actor, GRACE)
    assert heard(h, actor) == 1
    await nothing_left(h, actor)


async def test_one_that_starts_for_another_cause_just_then_hears_of_its_end(h: Harness) -> None:
    actor = await ready(h, awake=True)
    await h.call(actor, "put", "start", "wait:2000")
    await h.asleep(actor)
    errors: list[str] = []

    async def ask() -> None:
        errors.append((await h.error(actor, "inc", 1)).name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        assert h.state(actor) == "starting"
        await h.destroy(actor, 2)
    assert errors == ["actor/not_found"]
    assert (heard(h, actor), h.storage.hydrations) == (1, 2)
    assert h.count("events_refused", "actor.destroyed") == 1
    await nothing_left(h, actor)


async def test_one_that_is_read_for_a_start_just_then_is_read_again(h: Harness) -> None:
    actor = await ready(h, awake=False)
    hydrate, asked, go = h.storage.driver.hydrate, anyio.Event(), anyio.Event()
    reads: list[bool] = []

    async def slowly(actor_id: str, *, destroying: bool = False) -> ActorImage | None:
        reads.append(destroying)
        asked.set()
        await go.wait()
        return await hydrate(actor_id, destroying=destroying)

    h.storage.driver.hydrate = slowly  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.error, actor, "get")
        await asked.wait()
        tasks.start_soon(h.placement.destroy, actor)
        with anyio.fail_after(10):
            while actor not in h.placement.destroys:
                await anyio.lowlevel.checkpoint()
        await let_loop_settle()
        # It is read as anybody reads it, for the action, and finds nobody: its last start has to ask once more.
        go.set()
        await h.rest()
    assert reads[:2] == [False, True]
    assert (heard(h, actor), h.count("destroys_cut")) == (1, 0)
    h.storage.driver.hydrate = hydrate  # type: ignore[method-assign]
    await nothing_left(h, actor)


class Stuck(Actor):
    """Nothing bounds a Python class: its handler may keep its thread for as long as it pleases."""

    entered = threading.Event()
    go = threading.Event()
    state = 0

    @action
    def hang(self) -> None:
        self.entered.set()
        self.go.wait(20)
        self.state = 1

    @action
    def ping(self) -> str:
        return "pong"


async def test_one_whose_thread_never_comes_back_is_destroyed_and_writes_nothing_later(shelf: CodeShelf) -> None:
    async with open_harness(shelf, registered={"stuck": spec_of(Stuck)}) as h:
        actor = await h.actor("stuck")
        assert await h.call(actor, "ping") == "pong"
        errors: list[str] = []

        async def ask() -> None:
            errors.append((await h.error(actor, "hang")).name)

        async def destroy() -> None:
            await h.placement.destroy(actor)
            errors.append("destroyed")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(Stuck.entered.wait)
            tasks.start_soon(destroy)
            # It never rests while the thread is away, so time moves behind its back.
            with anyio.fail_after(10):
                while actor not in h.placement.destroys:
                    await anyio.lowlevel.checkpoint()
            h.clock.settle = anyio.lowlevel.checkpoint
            await h.advance(GRACE)
            with anyio.fail_after(10):
                while errors != ["destroyed"]:
                    await anyio.lowlevel.checkpoint()
            assert await h.storage.driver.hydrate(actor, destroying=True) is None
            Stuck.go.set()
        assert errors == ["destroyed", "actor/aborted"]
        assert h.count("destroys_cut", "grace") == 1
        assert h.count("commits_refused", "actor.destroyed") == 1


# --- seen from outside ------------------------------------------------------------------------------------------------


async def test_from_its_record_on_nobody_finds_it_and_its_key_makes_another(h: Harness) -> None:
    actor = await ready(h, awake=True, end="wait:4000")
    socket = await h.open(actor)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.destroy, actor)
        await h.rest()
        assert h.state(actor) == "stopping"
        assert socket.closed == (1000, "actor.destroyed")
        assert await h.placement.find(TENANT, "a", ("k",)) is None
        assert (await h.storage.list_actors(TENANT)).actors == ()
        assert await h.storage.actor_names(TENANT) == ()
        assert await h.storage.count_actors(TENANT, "a", 9) == 0
        for what in (h.placement.record, h.placement.snapshot, h.placement.status, h.placement.reload):
            with pytest.raises(CallerError, match="actor/not_found"):
                await what(actor)
        assert (await h.error(actor, "get")).name == "actor/not_found"
        record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
        assert (created, record.generation) == (True, 2)
        assert await h.call(record.actor_id, "inc", 1) == 1
        await h.advance(4)
    assert (await h.placement.record(record.actor_id)).generation == 2
    assert await h.call(record.actor_id, "inc", 1) == 2
    assert h.count("destroys_cut") == 0


async def test_what_comes_for_it_meanwhile_is_refused_and_counted(h: Harness) -> None:
    actor = await ready(h, awake=True, end="wait:4000")
    socket = await h.open(actor)
    await h.call(actor, "alarm", "x", 1_000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.destroy, actor)
        await h.rest()
        socket.send("echo late")
        assert (await h.error(actor, "inc", 1)).name == "actor/not_found"
        # A handshake that went on while the others were closed.
        late = Socket(h.gateway, msgspec.structs.replace(socket.opened, conn_id="f" * 32))
        h.gateway.held[late.conn] = late
        closed = [late.closed]
        h.placement.post_opened(late.opened)
        closed.append(late.closed)
        assert closed == [None, (1000, "actor.destroyed")]
        assert h.count("events_refused", "actor.destroyed") == 3
        starts = h.storage.hydrations
        await h.advance(100)
    assert h.storage.hydrations == starts
    assert socket.frames == ["welcome"]
    assert heard(h, actor) == 1
    # Nor did its alarm go off while it was still there.
    assert not any(b'"x"' in (unit.state or b"") for unit in h.storage.units)


async def test_all_who_ask_wait_for_the_one_end(h: Harness) -> None:
    actor = await ready(h, awake=True, end="wait:3000")
    ended: list[float] = []

    async def destroy() -> None:
        await h.placement.destroy(actor)
        ended.append(h.clock.monotonic())

    began = h.clock.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(destroy)
        await h.advance(1)
        # The gateway asks for it so: the record of one that nobody else finds.
        found = await h.placement.being_destroyed(actor)
        assert found is not None
        assert (found.actor_id, found.lifecycle) == (actor, "asleep")
        tasks.start_soon(destroy)
        await h.advance(2)
    assert ended == [began + 3] * 4
    assert await h.placement.being_destroyed(actor) is None
    assert (heard(h, actor), h.count("actors_destroyed")) == (1, 1)


async def test_who_asks_before_it_is_recorded_learns_what_it_was(h: Harness) -> None:
    actor = await ready(h, awake=True)
    found: list[str | None] = []

    async def ask(actor_id: str) -> None:
        record = await h.placement.being_destroyed(actor_id)
        found.append(None if record is None else record.actor_id)

    async with anyio.create_task_group() as tasks:
        for doomed in (actor, "f" * 32):
            tasks.start_soon(no_matter, h, doomed)
            tasks.start_soon(ask, doomed)
    assert sorted(found, key=str) == sorted([actor, None], key=str)


async def no_matter(h: Harness, actor: str) -> None:
    """A destroy that may end either way."""
    with suppress(CallerError):
        await h.placement.destroy(actor)


# --- from the actor ---------------------------------------------------------------------------------------------------


async def test_an_actor_that_ends_itself_still_answers(h: Harness) -> None:
    actor = await ready(h, awake=True)
    socket = await h.open(actor)
    assert await h.call(actor, "end") == "the end"
    await h.rest()
    assert socket.closed == (1000, "actor.destroyed")
    assert heard(h, actor) == 1
    assert h.count("actors_destroyed", "actor") == 1
    await nothing_left(h, actor)


async def test_the_action_that_ended_it_may_settle_later(h: Harness) -> None:
    actor = await ready(h, awake=True)
    outputs: list[str] = []

    async def ask() -> None:
        outputs.append(await h.call(actor, "end", "wait:2000"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await h.rest()
        assert actor in h.placement.destroys
        await h.advance(2)
    assert outputs == ["did wait:2000"]
    await nothing_left(h, actor)


async def test_nothing_new_begins_after_it_ended_itself(h: Harness) -> None:
    actor = await ready(h, awake=True)
    outcomes: list[str] = []

    async def ask(name: str) -> None:
        try:
            outcomes.append(str(await h.call(actor, name, *([1] if name == "inc" else []))))
        except DormiceError as error:
            outcomes.append(error.name)
        except Exception as error:  # noqa: BLE001 - whichever it is, it is looked at below
            outcomes.append(str(error).split(":")[0])

    async with anyio.create_task_group() as tasks:
        h.executor.hold()
        tasks.start_soon(ask, "inc")
        await h.executor.until_held()
        for name in ("end", "inc", "inc"):
            tasks.start_soon(ask, name)
        await h.rest()
        h.executor.release()
        await h.rest()
    assert sorted(outcomes) == ["2", "actor/not_found", "actor/not_found", "the end"]
    assert h.count("events_refused", "actor.destroyed") == 2
    await nothing_left(h, actor)


async def test_an_actor_that_ends_itself_in_its_first_start_is_gone(h: Harness) -> None:
    source = PROBE.replace("async onCreate(c, input) {", "async onCreate(c, input) { if (input) c.destroy();")
    await h.define(source, limits={"host_calls": 64})
    actor = await h.actor(input=b'{"start": ""}')
    assert (await h.error(actor, "inc", 1)).name == "actor/not_found"
    await nothing_left(h, actor)


async def test_what_a_failed_turn_wanted_does_not_happen(h: Harness) -> None:
    actor = await ready(h, awake=True)
    assert (await h.error(actor, "end", "crash")).name == "guest/budget"
    await h.advance(100)
    assert await h.call(actor, "inc", 1) == 2


async def test_an_end_that_is_asked_for_in_the_end_is_the_same_one(h: Harness) -> None:
    source = PROBE.replace("async onDestroy(c) {", "async onDestroy(c) { c.destroy();")
    await h.define(source, limits={"host_calls": 64})
    actor = await h.actor()
    await h.call(actor, "inc", 1)
    await h.destroy(actor)
    await h.rest()
    assert h.count("actors_destroyed") == 1
    await nothing_left(h, actor)


class Mayfly(Actor):
    """A Python class ends itself as a guest does."""

    state = 0

    @action
    def inc(self, by: int) -> int:
        self.state += by
        return int(self.state)

    @action
    def end(self) -> str:
        self.destroy_now()
        return "the end"

    def on_destroy(self) -> None:
        self.kv.put("heard of its end", "1")


async def test_a_python_class_ends_itself_and_hears_of_it(shelf: CodeShelf) -> None:
    async with open_harness(shelf, registered={"a": spec_of(Mayfly)}) as h:
        actor = await h.actor()
        assert await h.call(actor, "end") == "the end"
        await h.rest()
        assert heard(h, actor) == 1
        await nothing_left(h, actor)


# --- storage and the node ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_disk(shelf: CodeShelf, folder: Path) -> AsyncGenerator[Harness]:
    driver = sqlite_driver(folder)
    await driver.open()
    try:
        async with open_harness(shelf, cast(Driver, driver)) as h:
            yield h
    finally:
        await driver.close()


async def test_storage_that_fails_before_the_record_leaves_the_actor_as_it_was(h: Harness) -> None:
    actor = await ready(h, awake=True)
    h.storage.driver.fail_next("unavailable")  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError, match="storage/unavailable"):
        await h.placement.destroy(actor)
    await h.advance(100)
    assert await h.call(actor, "inc", 1) == 2
    assert heard(h, actor) == 0


async def test_an_actor_that_ends_itself_ends_however_long_storage_fails(h: Harness) -> None:
    actor = await ready(h, awake=True)
    begin = h.storage.driver.begin_destroy
    tries: list[float] = []

    async def failing(actor_id: str) -> object:
        tries.append(h.clock.monotonic())
        if len(tries) < 9:
            raise UnavailableError("storage", "unavailable", "the disk is full")
        return await begin(actor_id)

    h.storage.driver.begin_destroy = failing  # type: ignore[method-assign, assignment]
    assert await h.call(actor, "end") == "the end"
    await h.advance(200)
    delays = [after - before for before, after in itertools.pairwise(tries)]
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]
    assert delays[-1] == MAX_RETRY_MS / 1_000
    assert h.count("destroys_put_off", "storage/unavailable") == 8
    await nothing_left(h, actor)


async def test_who_comes_by_the_key_after_the_answer_gets_the_next_actor(h: Harness) -> None:
    actor = await ready(h, awake=True)
    begin = h.storage.driver.begin_destroy
    recorded = anyio.Event()

    async def held(actor_id: str) -> object:
        await recorded.wait()
        return await begin(actor_id)

    h.storage.driver.begin_destroy = held  # type: ignore[method-assign, assignment]
    assert await h.call(actor, "end") == "the end"
    made: list[tuple[str, bool]] = []
    refused: list[str] = []

    async def come() -> None:
        record, created = await h.placement.get_or_create(TENANT, "a", ("k",), None)
        made.append((record.actor_id, created))

    async def connect() -> None:
        try:
            await h.open(actor)
        except DormiceError as error:
            refused.append(error.name)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come)
            tasks.start_soon(come)
            tasks.start_soon(connect)
            for _ in range(10):
                await let_loop_settle()
            assert (made, refused) == ([], [])
            recorded.set()
    assert {one != actor for one, _ in made} == {True}
    assert len({one for one, _ in made}) == 1
    assert sorted(created for _, created in made) == [False, True]
    assert refused == ["actor/not_found"]
    found = await h.placement.find(TENANT, "a", ("k",))
    assert found is not None
    assert found.actor_id == made[0][0]
    assert await h.call(found.actor_id, "inc", 1) == 1


async def test_storage_that_fails_after_the_record_delays_the_end_and_no_more(h: Harness) -> None:
    actor = await ready(h, awake=False)
    finish = h.storage.driver.finish_destroy
    failures = [UnavailableError("storage", "unavailable", "the disk is full")]

    async def failing(actor_id: str) -> bool:
        if failures:
            raise failures.pop()
        return await finish(actor_id)

    h.storage.driver.finish_destroy = failing  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="storage/unavailable"):
        await h.placement.destroy(actor)
    assert (await h.error(actor, "get")).name == "actor/not_found"
    assert list(await h.storage.driver.destroying(9)) == [actor]
    await h.advance(1)
    await nothing_left(h, actor)


async def test_an_error_of_the_host_itself_ends_the_destroy_and_nothing_else(h: Harness) -> None:
    actor = await ready(h, awake=True)

    async def broken(actor_id: str) -> bool:
        raise ValueError("on purpose")

    finish = h.storage.driver.finish_destroy
    h.storage.driver.finish_destroy = broken  # type: ignore[method-assign]
    with pytest.raises(DormiceError, match="internal/internal_error"):
        await h.placement.destroy(actor)
    assert h.count("actor_tasks_failed", "internal") == 1
    h.storage.driver.finish_destroy = finish  # type: ignore[method-assign]
    await h.placement.destroys.finish_all()
    await nothing_left(h, actor)


@AWAKE
async def test_what_a_host_left_half_done_is_finished_at_the_next_start(
    shelf: CodeShelf, tmp_path: Path, awake: bool
) -> None:
    async with on_disk(shelf, tmp_path) as h:
        actor = await ready(h, awake=awake)
        assert await h.storage.driver.begin_destroy(actor) is not None
    async with on_disk(shelf, tmp_path) as h:
        with pytest.raises(CallerError, match="actor/not_found"):
            await h.placement.destroy(actor)
        await h.placement.destroys.finish_all()
        assert h.count("actors_destroyed", "restart") == 1
        assert heard(h, actor) == 0
        h.shelf.put(PROBE)
        await nothing_left(h, actor)


async def test_a_drain_waits_for_an_end_that_is_under_way(h: Harness) -> None:
    actor = await ready(h, awake=True, end="wait:3000")
    drained: list[float] = []

    async def drain() -> None:
        await h.placement.drain()
        drained.append(h.clock.monotonic())

    began = h.clock.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.destroy, actor)
        await h.rest()
        tasks.start_soon(drain)
        await h.advance(3)
    assert drained == [began + 3]
    assert heard(h, actor) == 1
    assert await h.storage.driver.hydrate(actor, destroying=True) is None


async def test_a_drain_waits_until_nothing_is_left_of_it(h: Harness) -> None:
    actor = await ready(h, awake=True)
    finish, asked, go = h.storage.driver.finish_destroy, anyio.Event(), anyio.Event()
    ended: list[str] = []

    async def slowly(actor_id: str) -> bool:
        asked.set()
        await go.wait()
        ended.append("its rows")
        return await finish(actor_id)

    async def drain() -> None:
        await h.placement.drain()
        ended.append("the drain")

    h.storage.driver.finish_destroy = slowly  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.destroy, actor)
        with anyio.fail_after(10):
            await asked.wait()
        tasks.start_soon(drain)
        await let_loop_settle()
        assert ended == []
        go.set()
    assert ended == ["its rows", "the drain"]


async def test_on_a_node_that_drains_one_that_sleeps_goes_without_having_heard(h: Harness) -> None:
    actor = await ready(h, awake=False)
    await h.placement.drain()
    await h.destroy(actor)
    assert h.count("destroys_cut", "node/draining") == 1
    assert await h.storage.driver.hydrate(actor, destroying=True) is None


async def test_on_a_full_node_one_that_sleeps_goes_without_having_heard(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        actor = await ready(h, awake=False)
        _, end = await h.busy()
        await h.destroy(actor)
        assert h.count("destroys_cut", "node/full") == 1
        assert await h.storage.driver.hydrate(actor, destroying=True) is None
        await end()


async def test_every_table_of_the_schema_forgets_it_but_the_tombstone(shelf: CodeShelf, tmp_path: Path) -> None:
    async with on_disk(shelf, tmp_path) as h:
        actor = await ready(h, awake=True)
        plain, session = await h.open(actor), await h.open(actor, session=b"s" * 32)
        gone = await h.open(actor, session=b"t" * 32)
        for socket in (plain, session, gone):
            socket.send("state")
            socket.send("echo a")
        await h.rest()
        gone.close()
        plain.send("crash")
        await plain.ended()
        session.send("crash<3")
        await h.rest()
        await h.call(actor, "alarm", "x", 3_600_000)
        await h.storage.driver.note_deploy_failure(TENANT, "a", 1, actor, 5, "x")
        await h.asleep(actor)
        named = {table for table, rows in tables(tmp_path).items() if mentions(rows, actor)}
        assert named >= {"keys", "actors", "state", "kv", "alarms", "connections", "outbox", "dead_letters"}
        assert named >= {"ended_sessions", "deploy_failures"}
        await h.destroy(actor)
        assert {table for table, rows in tables(tmp_path).items() if mentions(rows, actor)} == set()
        assert [row[3:] for row in tables(tmp_path)["keys"]] == [(None, 1)]


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is in the database, whatever the tables are called."""
    conn = sqlite3.connect(folder / "dormice.db")
    try:
        names = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        return {name: conn.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    finally:
        conn.close()


def mentions(rows: list[tuple[object, ...]], actor: str) -> bool:
    spellings = (actor, actor.encode())
    return any(
        (isinstance(value, str) and spellings[0] in value) or (isinstance(value, bytes) and spellings[1] in value)
        for row in rows
        for value in row
    )


def test_a_code_of_the_guests_choice_names_no_counter() -> None:
    destroying = Destroying()
    destroying.miss(ErrorInfo("user", "anything", "m"))
    assert destroying.missed == "user"
    destroying.miss(ErrorInfo("guest", "trap", "m"))
    assert destroying.missed == "guest/trap"
