"""Those over a quota of their tenant wait in a line, cost nothing there, and start one for each start that is free."""

from __future__ import annotations

import anyio
import pytest

from host.model.definitions import DefinitionOptions
from host.model.errors import DormiceError
from host.model.limits import Limits
from host.model.tunnel import ActionCall, ActionReply
from tests.actor.harness import PROBE, TENANT, CodeShelf, Harness, open_harness
from tests.placement.test_tenants import COUNTER, Books, User
from tests.virtual_clock import let_loop_settle

pytestmark = pytest.mark.anyio

REFUSED = ("starts_refused", "limit/exceeded")


async def sleepers(h: Harness, size: int) -> list[str]:
    await h.define(COUNTER)
    return [await h.actor(key=str(number)) for number in range(size)]


def wake(h: Harness, actors: list[str]) -> None:
    """As alarms do: nobody waits for an answer, and nobody asks again."""
    for actor in actors:
        h.placement._poke(actor, "alarm")


def running(h: Harness) -> int:
    return h.placement.directory.counts().get("running", 0)


# --- the line alone --------------------------------------------------------------------------------------------------


async def test_a_free_start_is_kept_for_the_next_in_line_and_nobody_overtakes() -> None:
    books = Books(tenant_actors=1)
    first, second = User(), User()
    books.tenants.begin_start("a")
    for user in (first, second):
        with pytest.raises(DormiceError, match="tenant_actors"):
            books.tenants.begin_start("a", user)
        books.tenants.wait_start("a", user)
    books.tenants.end_start("a")
    assert (first.signals, second.signals) == (1, 0)
    with pytest.raises(DormiceError, match="tenant_actors"):
        books.tenants.begin_start("a", User())
    assert [books.tenants.may_start("a", user) for user in (first, second)] == [True, False]
    books.tenants.begin_start("a", first)
    assert (await books.tenants.usage("a")).starts == 2
    books.tenants.end_start("a")
    assert second.signals == 1


async def test_who_leaves_the_line_gives_its_start_to_the_next() -> None:
    books = Books(tenant_starts=2, tenant_actors=1)
    first, second, third = User(), User(), User()
    books.tenants.begin_start("a")
    for user in (first, second, third):
        books.tenants.wait_start("a", user)
    books.tenants.leave_start("a", second)
    books.tenants.end_start("a")
    books.tenants.leave_start("a", first)
    assert (first.signals, second.signals, third.signals) == (1, 0, 1)
    books.tenants.begin_start("a", third)
    usage = await books.tenants.usage("a")
    assert (usage.quotas["tenant_actors"].used, usage.starts) == (1, 2)


async def test_starts_that_come_back_wake_one_each_and_a_higher_quota_all_at_once() -> None:
    books = Books(tenant_starts=60)
    for _ in range(60):
        books.tenants.begin_start("a")
    users = [User() for _ in range(20)]
    for user in users:
        books.tenants.wait_start("a", user)
    await books.clock.advance(3.1)
    assert [user.signals for user in users] == [1] * 3 + [0] * 17
    with pytest.raises(DormiceError) as refused:
        books.tenants.begin_start("a")
    assert refused.value.retry_after is not None
    assert 17 < refused.value.retry_after < 18.5  # behind those who wait
    await books.tenants.set_quotas("a", {"tenant_starts": 600})
    await books.clock.advance(2)
    assert [user.signals for user in users] == [1] * 20
    assert books.clock.pending == 0


async def test_who_starts_anew_at_once_keeps_its_start_if_it_may_be_started_so_soon() -> None:
    books = Books(tenant_actors=1, tenant_starts=2)
    again, other = User(), User()
    books.tenants.begin_start("a", again)
    books.tenants.wait_start("a", other)
    books.tenants.end_start("a", again)
    assert (books.tenants.may_start("a", again), other.signals) == (True, 0)
    books.tenants.begin_start("a", again)
    books.tenants.end_start("a", again)  # this minute has no more starts
    assert not books.tenants.may_start("a", again)
    await books.clock.advance(31)
    assert other.signals == 1


# --- actors in it ----------------------------------------------------------------------------------------------------


async def test_actors_that_wait_for_others_to_sleep_are_refused_once_and_cost_nothing(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        first, *others = await sleepers(h, 41)
        await h.call(first, "add", 1)
        wake(h, others)
        await h.rest()
        assert h.count(*REFUSED) == 40
        jobs, hydrated = h.executor.jobs, h.storage.hydrations
        await h.advance(20)
        assert (h.count(*REFUSED), h.executor.jobs, h.storage.hydrations) == (40, jobs, hydrated)
        await h.asleep(first)
        assert (h.count(*REFUSED), running(h)) == (40, 1)
        assert h.state(others[0]) == "running"


async def test_actors_that_wait_for_starts_to_come_back_start_one_by_one(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_starts=60)) as h:
        first, *others = await sleepers(h, 31)
        await h.call(first, "add", 1)
        for _ in range(59):
            h.tenants.begin_start(TENANT)
        wake(h, others)
        await h.rest()
        await h.advance(5.5)
        assert (h.count(*REFUSED), running(h)) == (30, 1 + 5)


async def test_who_asks_an_actor_that_waits_is_told_at_once(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        first, other, third = await sleepers(h, 3)
        await h.call(first, "add", 1)
        wake(h, [other])
        await h.rest()
        for _ in range(3):
            assert (await h.error(other, "add", 1)).name == "limit/exceeded"
        assert h.count(*REFUSED) == 1
        assert h.count("events_refused", "limit/exceeded") == 3
        # for one that nothing else waits for, no place is taken
        assert (await h.error(third, "add", 1)).name == "limit/exceeded"
        await h.rest()
        assert len(h.placement.directory) == 2


async def test_an_actor_that_is_destroyed_while_it_waits_holds_up_nobody(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        first, doomed, last = await sleepers(h, 3)
        await h.call(first, "add", 1)
        wake(h, [doomed, last])
        await h.rest()
        await h.destroy(doomed)
        await h.asleep(first)
        assert h.state(last) == "running"


async def test_an_upgrade_does_not_go_behind_those_who_wait(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_actors=1)) as h:
        first, other = await sleepers(h, 2)
        await h.call(first, "add", 1)
        wake(h, [other])
        await h.rest()
        await h.placement.reload(first)
        assert (h.state(first), h.state(other)) == ("running", "absent")
        assert await h.call(first, "add", 2) == 2


# --- and room on the node --------------------------------------------------------------------------------------------


async def test_who_waited_for_a_quota_needs_room_on_the_node_too(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=4, tenant_starts=60)) as h:
        await h.define(PROBE, "busy", limits={"host_calls": 64}, options=DefinitionOptions(hibernate=False))
        actors = [await h.actor("busy", str(number)) for number in range(20)]
        sockets = [await h.open(actor) for actor in actors[:3]]
        for _ in range(57):
            h.tenants.begin_start(TENANT)
        for actor in actors[3:]:
            wake(h, [actor])
            await h.rest()
        most = 0
        for _ in range(30):
            await h.advance(1)
            most = max(most, running(h))
        assert most == 4
        for socket in sockets:
            socket.close()
        await h.advance(600)
        assert h.placement.directory.counts().get("absent", 0) == 0  # everyone had its turn


async def test_room_goes_on_to_the_next_if_the_first_has_no_use_for_it(
    shelf: CodeShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h, anyio.create_task_group() as tasks:
        _, end = await h.busy()
        gone, last = await sleepers(h, 2)
        wake(h, [gone, last])
        finish, finishes = h.storage.driver.finish_destroy, anyio.Event()

        async def finishing(actor_id: str) -> None:
            await finishes.wait()
            await finish(actor_id)

        monkeypatch.setattr(h.storage.driver, "finish_destroy", finishing)
        tasks.start_soon(h.placement.destroy, gone)
        await let_loop_settle()
        assert gone in h.placement.destroys  # it is refused whatever would wake it
        assert h.state(last) == "absent"
        h.activity.end()  # what is held counts as at rest
        await end()
        assert h.state(last) == "running"
        h.activity.begin()
        finishes.set()


async def test_an_actor_that_is_upgraded_on_its_way_to_sleep_counts_and_can_be_evicted_again(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(actors=1)) as h:
        (actor,) = await sleepers(h, 1)
        await h.call(actor, "add", 1)
        directory = h.placement.directory
        assert directory.evict_idle(1, "memory") == 1
        found = directory.get(actor)
        assert found is not None
        found.upgrade()
        await h.rest()
        assert h.state(actor) == "running"
        assert directory.evict_idle(1, "memory") == 1


# --- a start that waits for CPU time ---------------------------------------------------------------------------------


async def test_a_node_that_shuts_down_does_not_wait_for_cpu_time_of_a_tenant(shelf: CodeShelf) -> None:
    async with open_harness(shelf, limits=Limits(tenant_cpu=100, tenant_cpu_burst=1_000)) as h:
        (actor,) = await sleepers(h, 1)
        h.tenants.charge(TENANT, 60.0)
        wake(h, [actor])
        await h.rest()
        assert h.state(actor) == "starting"
        with anyio.fail_after(5):
            await h.placement.drain()
        assert h.state(actor) == "absent"


async def test_calls_do_not_wait_for_cpu_time_without_end_and_what_has_woken_the_actor_does(shelf: CodeShelf) -> None:
    limits = Limits(tenant_cpu=100, tenant_cpu_burst=1_000, wake_timeout=10_000)
    async with open_harness(shelf, limits=limits) as h:
        (actor,) = await sleepers(h, 1)
        h.tenants.charge(TENANT, 4.0)
        h.tenants.charge(TENANT, 20.0)
        answers: list[tuple[int, ActionReply]] = []

        async def ask(number: int) -> None:
            reply = await h.placement.action(ActionCall(actor, "add", b"[%d]" % number, "ray"))
            answers.append((number, reply))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            await h.advance(6)
            tasks.start_soon(ask, 2)
            wake(h, [actor])
            await h.advance(5)
            assert [number for number, _ in answers] == [1]
            await h.advance(5)
        assert [number for number, _ in answers] == [1, 2]
        for _, reply in answers:
            assert reply.error is not None
            assert (reply.error.name, reply.error.retryable) == ("limit/exceeded", True)
            assert b"tenant_cpu_burst" in (reply.error.metadata or b"")
        assert h.count("events_refused", "limit/exceeded") == 2
        assert h.state(actor) == "starting"
        await h.advance(240)
        assert h.count("start_failures") == 0
        assert (await h.record(actor)).started_once
