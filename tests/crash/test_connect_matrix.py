"""The matrix for sessions on /connect sockets: every fail point that such a session passes, crossed with every blow.

Its actions interleave and are answered out of order; what settles above the watermark is not carried out again and not
lost, whatever is struck. Kills happen to host processes; all other blows fall on one host in this process.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from host.client import Client
from host.model.errors import DormiceError
from host.model.failpoints import GUEST_POINTS, FailPoint
from tests.crash.connect_talk import ConnectTalk
from tests.crash.session_cells import SessionBlow
from tests.crash.session_striker import SessionStriker
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process
from tests.end_to_end.unreliable import unreliable_network

pytestmark = pytest.mark.anyio

TALKER = (Path(__file__).parent / "talker.js").read_text(encoding="utf-8")
SIDE_BY_SIDE = 3
CELL_SECONDS = 60

# Points that such a session does not pass, with the reason; the other matrices have each of them.
NOT_PASSED = {
    FailPoint.CALL_SOCKET_SEND: "the host sends the frames of a /connect connection",
    FailPoint.CALL_SOCKET_SET_TAGS: "connections of RivetKit's API have no tags",
    FailPoint.CALL_NOW: "the clock of a JavaScript guest is the turn's own",
    FailPoint.CALL_DESTROY: "it ends the actor, and every session with it",
}
POINTS = [point for point in FailPoint if point not in NOT_PASSED]
BLOWS = [
    (point, blow)
    for point in POINTS
    for blow in (SessionBlow.TRAP, SessionBlow.TUNNEL, SessionBlow.DROP, SessionBlow.TAKE_OVER)
    if blow is not SessionBlow.TRAP or point in GUEST_POINTS
]
# Besides the middle of its life: the start that the session wakes (hit 1), and its opening (hit 2).
AT_THE_BEGINNING = [
    (point, hit) for point in (FailPoint.BEFORE_TURN, FailPoint.BEFORE_COMMIT, FailPoint.AFTER_COMMIT) for hit in (1, 2)
]
KILLS: list[tuple[FailPoint, int]] = [*((point, 0) for point in POINTS), *AT_THE_BEGINNING]

Outcomes = dict[tuple[FailPoint, int], Exception | None]


def cell_id(cell: object) -> str:
    return cell.name.lower() if isinstance(cell, FailPoint | SessionBlow) else f"hit{cell}" if cell else "middle"


@dataclass(slots=True)
class Stage:
    host: TestHost
    client: Client
    striker: SessionStriker
    hits: Counter[FailPoint]

    def middle(self, point: FailPoint) -> int:
        return self.hits[point] // 2 + 1


@pytest.fixture(scope="module")
async def stage(new_module_dir: Callable[[], Path]) -> AsyncGenerator[Stage]:
    striker = SessionStriker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("host.node._failpoints", lambda *_: striker.failpoints)
        async with start_host(new_module_dir()) as host, Client(host.url) as client:
            await host.deploy("talker", TALKER.encode())
            talk = ConnectTalk(client, await host.actor("talker", "untouched"))
            striker.aim(host, talk)
            with anyio.fail_after(CELL_SECONDS):
                await talk.story()
                hits = Counter(striker.hits)
                await talk.check(host)
                await client.sleep(talk.actor_id)
            assert [told[0] for _, told in sorted(talk.answers.items())] == list(range(1, len(talk.whats) + 1))
            assert list(talk.answers) != sorted(talk.answers), "no answer has overtaken another"
            yield Stage(host, client, striker, hits)


async def test_such_a_session_s_life_passes_every_fail_point_but_those_with_a_reason(stage: Stage) -> None:
    assert {point for point in FailPoint if not stage.hits[point]} == set(NOT_PASSED)
    assert all(NOT_PASSED.values())


@pytest.mark.parametrize(("point", "blow"), BLOWS, ids=cell_id)
async def test_a_blow_loses_and_doubles_nothing(stage: Stage, point: FailPoint, blow: SessionBlow) -> None:
    talk = ConnectTalk(stage.client, await stage.host.actor("talker", f"{point.name}-{blow.name}"))
    stage.striker.aim(stage.host, talk, point, blow, stage.middle(point))
    with anyio.fail_after(30):
        await talk.story()
        await stage.striker.rest()
        assert stage.striker.struck
        await talk.check(stage.host, traps=int(blow is SessionBlow.TRAP))
        if blow is not SessionBlow.TRAP:
            assert all(told == [number] for number, told in talk.answers.items())
        await stage.client.sleep(talk.actor_id)


async def test_a_destroy_ends_it(stage: Stage) -> None:
    talk = ConnectTalk(stage.client, await stage.host.actor("talker", "destroyed"))
    point = FailPoint.CALL_EVENT_SEND
    stage.striker.aim(stage.host, talk, point, SessionBlow.DESTROY, stage.middle(point))
    with anyio.fail_after(30):
        await talk.story()
        await stage.striker.rest()
    assert talk.ended is not None
    assert (talk.ended.code, talk.ended.reason) == (1000, "actor.destroyed")
    with pytest.raises(DormiceError, match="actor/not_found"):
        await stage.client.snapshot(talk.actor_id)


@pytest.fixture(scope="module")
async def outcomes(stage: Stage, new_module_dir: Callable[[], Path]) -> Outcomes:
    """How each cell went: None, or why it failed. The clients knock more often than they would."""
    found: Outcomes = {}
    slots = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def one(point: FailPoint, hit: int) -> None:
        async with slots:
            try:
                with anyio.fail_after(CELL_SECONDS):
                    await killed_at(new_module_dir(), point, hit or stage.middle(point))
                found[(point, hit)] = None
            except Exception as error:  # noqa: BLE001 - raised again by the test of this cell
                found[(point, hit)] = error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("host.client.session.LONGEST_DELAY", 0.2)
        async with anyio.create_task_group() as tasks:
            for cell in KILLS:
                tasks.start_soon(one, *cell)
    return found


async def killed_at(data_dir: Path, point: FailPoint, nth: int) -> None:
    """The client talks on through the kill, to the host that comes after."""
    port = 0
    async with (
        unreliable_network(lambda: port) as network,
        Client(f"http://127.0.0.1:{network.port}") as client,
        anyio.create_task_group() as tasks,
    ):
        async with host_process(data_dir, f"{point.value}:{nth}") as (host, _):
            port = host.port
            await host.deploy("talker", TALKER.encode())
            talk = ConnectTalk(client, await host.actor("talker"))
            tasks.start_soon(talk.story)
            assert await host.exit_code() == -signal.SIGKILL
            assert [line["point"] for line in host.lines if line["event"] == "fail point"] == [point.value]
        async with start_host(data_dir) as again:
            port = again.port
            await talk.over.wait()
            await talk.check(again)


@pytest.mark.parametrize(("point", "hit"), KILLS, ids=cell_id)
async def test_a_kill_loses_and_doubles_nothing(point: FailPoint, hit: int, outcomes: Outcomes) -> None:
    error = outcomes[(point, hit)]
    if error is not None:
        raise error
