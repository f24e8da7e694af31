"""The matrix for sessions: every fail point crossed with every blow, and a client that brings everything through.

The reference client is outside of the host. Kills happen to host processes, of which several run side by side; all
other blows fall on one host in this process, on an actor each.
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
from host.model.failpoints import FailPoint
from tests.crash.cells import APART
from tests.crash.session_cells import IMPOSSIBLE, SESSION_CELLS, SessionBlow, blows_in_process, session_kills
from tests.crash.session_striker import SessionStriker
from tests.crash.session_talk import Talk
from tests.crash.writer import WRITER
from tests.end_to_end.host import TestHost, start_host
from tests.end_to_end.host_process import host_process
from tests.end_to_end.unreliable import unreliable_network

pytestmark = pytest.mark.anyio

SIDE_BY_SIDE = 3
CELL_SECONDS = 60
# Besides the middle of its life: the start that the session wakes (hit 1), and its opening (hit 2).
AT_THE_BEGINNING = [
    (point, hit) for point in (FailPoint.BEFORE_TURN, FailPoint.BEFORE_COMMIT, FailPoint.AFTER_COMMIT) for hit in (1, 2)
]
KILLS: list[tuple[FailPoint, int]] = [*((point, 0) for point in session_kills()), *AT_THE_BEGINNING]

Outcomes = dict[tuple[FailPoint, int], Exception | None]


def cell_id(cell: object) -> str:
    return cell.name.lower() if isinstance(cell, FailPoint | SessionBlow) else f"hit{cell}" if cell else "middle"


def test_every_cell_is_tested_or_listed_with_its_reason() -> None:
    tested = [*blows_in_process(), *((point, SessionBlow.KILL) for point in session_kills())]
    assert len(tested) + len(IMPOSSIBLE) == len(SESSION_CELLS)
    assert {*tested, *IMPOSSIBLE} == set(SESSION_CELLS)
    assert all(IMPOSSIBLE.values())


# one host for all but the kills -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stage:
    host: TestHost
    client: Client
    striker: SessionStriker
    hits: Counter[FailPoint]

    async def talk(self, key: str, point: FailPoint, blow: SessionBlow, nth: int) -> Talk:
        """Struck, and the host at rest again."""
        talk = Talk(self.client, await self.host.actor("writer", key))
        self.striker.aim(self.host, talk, point, blow, nth)
        with anyio.fail_after(30):
            await talk.story()
            await self.striker.rest()
        assert self.striker.struck
        return talk


@pytest.fixture(scope="module")
async def stage(new_module_dir: Callable[[], Path]) -> AsyncGenerator[Stage]:
    striker = SessionStriker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("host.node._failpoints", lambda *_: striker.failpoints)
        async with start_host(new_module_dir()) as host, Client(host.url) as client:
            await host.deploy("writer", WRITER.encode())
            talk = Talk(client, await host.actor("writer", "untouched"))
            striker.aim(host, talk)
            with anyio.fail_after(CELL_SECONDS):
                await talk.story()
                hits = Counter(striker.hits)
                assert await talk.wrong(host) == []
                await client.sleep(talk.actor_id)
            talk.assert_whole()
            yield Stage(host, client, striker, hits)


async def test_a_session_s_life_passes_every_fail_point(stage: Stage) -> None:
    assert {point for point in FailPoint if not stage.hits[point]} == set(APART)


@pytest.mark.parametrize(
    ("point", "blow"), [cell for cell in blows_in_process() if cell[1] is not SessionBlow.DESTROY], ids=cell_id
)
async def test_a_blow_loses_doubles_and_reorders_nothing(stage: Stage, point: FailPoint, blow: SessionBlow) -> None:
    talk = await stage.talk(f"{point.name}-{blow.name}", point, blow, stage.hits[point] // 2 + 1)
    talk.assert_whole(struck_at_close=point is FailPoint.CALL_SOCKET_CLOSE)
    with anyio.fail_after(30):
        assert await talk.wrong(stage.host) == []
        assert len(await stage.host.call(talk.actor_id, "closes")) == 1
        await stage.client.sleep(talk.actor_id)


@pytest.mark.parametrize(
    "point", [point for point, blow in blows_in_process() if blow is SessionBlow.DESTROY], ids=cell_id
)
async def test_a_destroy_ends_the_session_and_leaves_nothing(stage: Stage, point: FailPoint) -> None:
    talk = await stage.talk(f"{point.name}-DESTROY", point, SessionBlow.DESTROY, stage.hits[point] // 2 + 1)
    assert talk.ended is not None
    assert (talk.ended.code, talk.ended.reason) == (1000, "actor.destroyed")
    assert talk.line.told == list(range(1, len(talk.line.told) + 1))
    with pytest.raises(DormiceError, match="actor/not_found"):
        await stage.client.snapshot(talk.actor_id)


# a host process for each kill ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def outcomes(stage: Stage, new_module_dir: Callable[[], Path]) -> Outcomes:
    """How each cell went: None, or why it failed. The clients knock more often than they would."""
    found: Outcomes = {}
    slots = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def one(point: FailPoint, hit: int) -> None:
        async with slots:
            try:
                with anyio.fail_after(CELL_SECONDS):
                    await killed_at(new_module_dir(), point, hit or stage.hits[point] // 2 + 1)
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
            await host.deploy("writer", WRITER.encode())
            talk = Talk(client, await host.actor("writer"))
            tasks.start_soon(talk.story)
            assert await host.exit_code() == -signal.SIGKILL
            assert [line["point"] for line in host.lines if line["event"] == "fail point"] == [point.value]
        async with start_host(data_dir) as again:
            port = again.port
            await talk.over.wait()
            assert await talk.wrong(again) == []
            closes = await again.call(talk.actor_id, "closes")
            assert len(closes) == 1
            talk.assert_whole(struck_at_close=point is FailPoint.CALL_SOCKET_CLOSE)


@pytest.mark.parametrize(("point", "hit"), KILLS, ids=cell_id)
async def test_a_kill_loses_doubles_and_reorders_nothing(point: FailPoint, hit: int, outcomes: Outcomes) -> None:
    error = outcomes[(point, hit)]
    if error is not None:
        raise error
