"""Actions and subscriptions of /connect connections while isolate, commit or host are lost: each is answered once, and
what has settled is not carried out again (D2, D5, D6)."""

from __future__ import annotations

import anyio
import pytest

from host.model.errors import UnavailableError
from host.storage.memory import MemoryDriver
from tests.actor.harness import CodeShelf, Harness, open_harness
from tests.actor.talk import LIMITS, ROOM, Talk, connected
from tests.actor.test_settled_ahead import Trapdoor, came_back, part_of_a_second

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
PLAN = (("a", 4_000), ("b", 0), ("c", 2_000), ("d", 0), ("e", 1_000))


@pytest.fixture
async def room(h: Harness) -> str:
    return await h.new(ROOM, limits=LIMITS)


async def test_d5_an_action_whose_turn_faults_is_answered_and_never_tried_again(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    numbers = talk.call("inc"), talk.call("crash"), talk.call("inc")
    await h.rest()
    assert talk.answers == {numbers[0]: 1, numbers[1]: "guest/budget", numbers[2]: 2}
    assert (await talk.row(), talk.socket.acked) == ((3, (), ()), 3)
    assert "crashed" not in await h.call(room, "read")
    image = await h.image(room)
    assert (image.attempts, image.letters) == ((), 0)


async def test_d5_its_index_settles_in_the_commit_of_the_turns_before_it(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    h.storage.hold()
    talk.call("inc")
    talk.call("crash")
    await h.storage.until_held()
    await h.rest()
    assert talk.answers == {}
    h.storage.release()
    await h.rest()
    (settled,) = [unit.indexes[0].msg_index for unit in h.storage.units if unit.indexes]
    assert settled == 2


async def test_d6_what_was_in_work_beside_it_is_aborted_and_what_had_not_begun_is_carried_out(
    h: Harness, room: str
) -> None:
    talk, other = await connected(h, room), await connected(h, room)
    slow = talk.call("work", "slow", 5_000)
    await h.rest()
    other.call("crash")
    after = talk.call("inc")
    await h.rest()
    assert talk.answers == {slow: "actor/aborted", after: 1}
    assert talk.socket.acked == 2
    await h.advance(10)
    assert "done slow" not in await h.call(room, "read")
    assert (await h.image(room)).attempts == ()


async def test_d6_a_commit_that_fails_leaves_what_it_held_to_the_next_start(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    h.storage.fail_next.append(UnavailableError("storage", "unavailable", "the disk is full"))
    numbers = [talk.call("inc") for _ in range(3)]
    await h.rest()
    assert talk.answers == {}
    await h.advance(2)
    assert [talk.answers[number] for number in numbers] == [1, 2, 3]


async def test_d6_and_aborts_what_had_turns_on_disk_before_it(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    slow = talk.call("work", "slow", 1_000)
    await h.rest()
    h.storage.fail_next.append(UnavailableError("storage", "unavailable", "the disk is full"))
    await h.advance(1)
    await h.advance(5)
    assert talk.answers == {slow: "actor/aborted"}
    assert talk.socket.acked == 1
    assert await h.call(room, "read") == ["wake", "begun slow", "wake"]


async def test_d6_a_grace_that_runs_out_aborts_what_is_still_in_work(h: Harness, room: str) -> None:
    talk = await connected(h, room)
    slow = talk.call("work", "slow", 50_000)
    await h.rest()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(h.placement.sleep, room)
        await h.rest()
        late = talk.call("inc")
        await h.advance(16)
    assert talk.answers == {slow: "actor/aborted", late: 1}


async def test_a_subscription_that_waits_for_the_guest_is_asked_for_again(h: Harness, room: str) -> None:
    talk, other = await connected(h, room, {"who": "slow"}), await connected(h, room)
    talk.subscribe("secret")
    await h.rest()
    other.call("crash")
    await h.rest()
    await h.advance(2)
    assert await talk.row() == (1, (), ("secret",))
    assert (await h.call(room, "read")).count("asked slow") == 2


async def test_the_frames_of_an_open_that_is_begun_again_are_those_of_its_last_delivery(h: Harness, room: str) -> None:
    socket = await h.gateway.open(room, protocol="json", params=b'{"wait":2000}')
    other = await connected(h, room)
    other.call("crash")
    await h.rest()
    assert socket.frames == []
    await h.advance(3)
    assert [type(frame).__name__ for frame in Talk(h, room, socket).frames] == ["Init", "EventFrame"]


async def test_an_open_that_a_host_left_unsettled_is_begun_again_and_init_comes_once(shelf: CodeShelf) -> None:
    driver = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        room = await h.new(ROOM, limits=LIMITS)
        socket = await h.gateway.open(room, protocol="json", params=b'{"wait":2000,"who":"ann"}', session=SECRET)
        await h.rest()
        (row,) = (await h.image(room)).connections
        assert (row.sent_index, socket.frames) == (0, [])
    async with open_harness(shelf, driver) as h:
        again = came_back(h, socket)
        again.frames.clear()
        talk = Talk(h, room, again)
        number = talk.call("who")
        await h.advance(3)
        assert [type(frame).__name__ for frame in talk.frames] == ["Init", "EventFrame", "ActionResponse"]
        assert again.indexes == [1, 2, 3]
        assert talk.answers == {number: [again.conn, "ann"]}


async def test_one_that_had_settled_is_not(shelf: CodeShelf) -> None:
    driver = MemoryDriver()
    async with open_harness(shelf, driver) as h:
        room = await h.new(ROOM, limits=LIMITS)
        before = await connected(h, room, {"who": "ann"}, session=SECRET)
        before.subscribe("said")
        await h.rest()
    async with open_harness(shelf, driver) as h:
        again = came_back(h, before.socket)
        again.frames.clear()
        talk = Talk(h, room, again)
        talk.last = 1
        talk.call("say", "here")
        await h.rest()
        assert [type(frame).__name__ for frame in talk.frames] == ["EventFrame", "ActionResponse"]
        assert again.indexes == [3, 4]


@pytest.mark.parametrize("how", ["unavailable", "fenced", "dies before", "dies after"])
async def test_d2_whichever_commit_it_is_lost_at_each_action_is_carried_out_once_or_aborted(
    shelf: CodeShelf, how: str
) -> None:
    """A session's client, which gets from the outbox what it missed: each action has one answer, and took effect in its
    last turn exactly if that is its result."""
    tried = 0
    for at in range(3, 40):  # 1 and 2 are the start and the opening
        with anyio.fail_after(20):
            if not await run_with(shelf, Trapdoor(at, how)):
                break
        tried += 1
    assert tried >= 5, "every commit of the scenario was one to be lost at"


async def run_with(shelf: CodeShelf, driver: Trapdoor) -> bool:
    async with open_harness(shelf, driver) as h:
        room = await h.new(ROOM, limits=LIMITS)
        talk = await connected(h, room, session=SECRET)
        for name, ms in PLAN:
            talk.call("work", name, ms)
            await part_of_a_second(h, driver)
        for _ in range(6):
            if driver.dead.is_set():
                break
            await part_of_a_second(h, driver, 1.0)
        if not driver.dead.is_set():
            lost = driver.commits >= driver.at
            driver.at = 0
            await h.advance(40)
            await check(h, room, talk)
            return lost
    driver.at = 0
    async with open_harness(shelf, driver) as h:
        again = Talk(h, room, came_back(h, talk.socket))
        kept = await driver.outbox(room, talk.socket.conn, 0)
        assert kept is not None
        again.socket.frames = [frame.data for frame in kept.frames]
        again.last = again.socket.last
        for name, ms in PLAN[again.socket.last :]:
            again.call("work", name, ms)
        h.placement._poke(room, "the host is back")
        await h.advance(40)
        await check(h, room, again)
    return True


async def check(h: Harness, room: str, talk: Talk) -> None:
    numbers = [number for frame in talk.frames if (number := answered(frame)) is not None]
    assert sorted(numbers) == list(range(1, len(PLAN) + 1)), numbers
    log = await h.call(room, "read")
    for number, (name, ms) in enumerate(PLAN, 1):
        done = log.count(f"done {name}")
        if talk.answers[number] == name:
            assert done == 1, log
        else:
            assert (talk.answers[number], done) == ("actor/aborted", 0), (name, log)
            assert ms, "what needs one turn is carried out or not, and then again"
        assert log.count(f"begun {name}") <= 1
    assert (await talk.row())[:2] == (len(PLAN), ())


def answered(frame: object) -> int | None:
    return getattr(frame, "id", None) or getattr(frame, "action_id", None)
