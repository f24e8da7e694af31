"""Sessions on disk, for every driver: the hash, the ring of frames, what goes with the connection, and adoption."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from host.model.effects import EndedSessions, OutboxFrame, OutboxTrim
from host.storage.driver import Driver
from tests.storage.samples import connection, create, ident, unit

pytestmark = pytest.mark.anyio

HASH = b"h" * 32
CONN = ident(801)


def frames(*texts: str | bytes, first: int = 1, start: int = 0, conn: str = CONN) -> tuple[OutboxFrame, ...]:
    made: list[OutboxFrame] = []
    for index, text in enumerate(texts, first):
        made.append(OutboxFrame(conn, index, start, len(text), text))
        start += len(text)
    return tuple(made)


async def kept(driver: Driver, actor_id: str, after: int = 0, conn: str = CONN) -> list[int]:
    found = await driver.outbox(actor_id, conn, after)
    assert found is not None
    return [frame.index for frame in found.frames]


async def with_session(driver: Driver, outbox: Iterable[OutboxFrame] = ()) -> str:
    actor_id = await create(driver, 1)
    await driver.commit(unit(actor_id, 1, connections=(connection(1, session=HASH),), outbox=tuple(outbox)))
    return actor_id


async def test_a_session_row_keeps_its_hash_and_its_numbers(driver: Driver) -> None:
    actor_id = await with_session(driver, frames("a", b"\x00\xff", "", "ü\x00"))
    image = await driver.hydrate(actor_id)
    assert image is not None
    (row,) = image.connections
    assert (row.session, row.session_expires_at, row.sent_index, row.sent_bytes) == (HASH, None, 4, 5)
    found = await driver.outbox(actor_id, CONN, 1)
    assert found is not None
    assert found.sent_index == 4
    assert [frame.data for frame in found.frames] == [b"\x00\xff", "", "ü\x00"]
    assert await driver.outbox(actor_id, ident(802), 0) is None
    assert await driver.outbox(ident(2), CONN, 0) is None


async def test_an_index_update_leaves_the_outbox_alone_and_later_frames_go_on_counting(driver: Driver) -> None:
    actor_id = await with_session(driver, frames("a"))
    await driver.commit(unit(actor_id, 2, outbox=frames("b", "c", first=2, start=1)))
    found = await driver.outbox(actor_id, CONN, 0)
    assert found is not None
    assert (found.sent_index, [frame.start for frame in found.frames]) == (3, [0, 1, 2])


@pytest.mark.parametrize(
    ("trim", "left"),
    [((1, 0), [1, 2, 3]), ((3, 0), [3]), ((1, 11), [3]), ((1, 10), [2, 3]), ((2, 1), [2, 3]), ((9, 0), [])],
)
async def test_the_ring_loses_its_oldest_frames_by_number_and_by_bytes(
    driver: Driver, trim: tuple[int, int], left: list[int]
) -> None:
    actor_id = await with_session(driver, frames("x" * 10, "y" * 10, "z"))
    await driver.commit(unit(actor_id, 2, outbox_trims=(OutboxTrim(CONN, *trim),)))
    assert await kept(driver, actor_id) == left


async def test_a_connection_that_goes_takes_its_frames_along_and_leaves_those_of_others(driver: Driver) -> None:
    actor_id = await create(driver, 1)
    rows = (connection(1, session=HASH), connection(2, session=b"i" * 32))
    both = (*frames("a"), *frames("b", conn=ident(802)))
    await driver.commit(unit(actor_id, 1, connections=rows, outbox=both))
    await driver.commit(unit(actor_id, 2, connections_gone=(CONN,), outbox=frames("c", first=2, start=1)))
    assert await driver.outbox(actor_id, CONN, 0) is None
    assert await kept(driver, actor_id, conn=ident(802)) == [1]
    # nobody could ask for a frame of a connection without a row
    await driver.commit(unit(actor_id, 3, outbox=frames("d", first=3, start=2)))
    await driver.commit(unit(actor_id, 4, connections=(connection(1, session=HASH),)))
    assert await kept(driver, actor_id) == []


async def test_a_destroy_takes_sessions_and_frames(driver: Driver) -> None:
    actor_id = await with_session(driver, frames("a"))
    assert await driver.finish_destroy(actor_id)
    assert await driver.outbox(actor_id, CONN, 0) is None
    assert await driver.adopt_sessions(ident(901), 99) == []


async def test_a_host_that_returns_adopts_sessions_and_leaves_plain_connections_to_the_sweep(driver: Driver) -> None:
    actor_id = await create(driver, 1)
    other = await create(driver, 2)
    rows = (connection(1, session=HASH), connection(2))
    await driver.commit(unit(actor_id, 1, connections=rows, outbox=frames("a", "b")))
    await driver.commit(unit(other, 1, connections=(connection(3, session=HASH),)))
    found = await driver.adopt_sessions(ident(901), 99)
    tenants = {(await driver.get_actor(one)).tenant for one in (actor_id, other)}  # type: ignore[union-attr]
    assert {tenant for tenant, _, _ in found} == tenants
    adopted = {one: row for _, one, row in found}
    assert set(adopted) == {actor_id, other}
    row = adopted[actor_id]
    assert (row.conn_id, row.gateway_id, row.session_expires_at, row.sent_index) == (CONN, ident(901), 99, 2)
    image = await driver.hydrate(actor_id)
    assert image is not None
    assert row in image.connections
    assert list(await driver.strays(ident(901), 10)) == [actor_id]
    assert await driver.adopt_sessions(ident(901), 100) == []


async def test_of_several_connections_with_one_secret_only_the_latest_is_adopted(driver: Driver) -> None:
    """The others had ended, and their closes were not on disk yet: the sweep tells the actor of them."""
    actor_id = await create(driver, 1)
    rows = (connection(1, session=HASH, opened_at=7), connection(2, session=HASH, opened_at=6))
    await driver.commit(unit(actor_id, 1, connections=rows))
    assert [row.conn_id for _, _, row in await driver.adopt_sessions(ident(901), 99)] == [CONN]
    assert list(await driver.strays(ident(901), 10)) == [actor_id]


async def known(driver: Driver, actor_id: str, *sessions: bytes) -> list[bytes]:
    return [session for session in sessions if await driver.session_known(actor_id, session)]


async def test_a_session_is_known_while_it_lives_and_after_its_end_on_its_actor_alone(driver: Driver) -> None:
    actor_id, other = await with_session(driver), await create(driver, 2)
    assert await known(driver, actor_id, HASH, b"x" * 32) == [HASH]
    await driver.commit(unit(actor_id, 2, connections_gone=(CONN,), ended_sessions=EndedSessions((HASH,), 5, 0, 9)))
    assert await known(driver, actor_id, HASH, b"x" * 32) == [HASH]
    assert await known(driver, other, HASH) == []
    assert await known(driver, ident(3), HASH) == []
    assert await driver.finish_destroy(actor_id)
    assert await known(driver, actor_id, HASH) == []


async def test_sessions_that_ended_long_ago_and_all_but_the_latest_are_forgotten(driver: Driver) -> None:
    actor_id = await create(driver, 1)
    ended = [bytes([n]) * 32 for n in range(8)]
    for n, session in enumerate(ended, 1):
        await driver.commit(unit(actor_id, n, ended_sessions=EndedSessions((session,), 10 * n, 25, 4)))
    assert await known(driver, actor_id, *ended) == ended[4:]
    again = EndedSessions((ended[4],), 90, 75, 4)  # it ended once more, later than all others
    await driver.commit(unit(actor_id, 9, ended_sessions=again))
    assert await known(driver, actor_id, *ended) == [ended[4], ended[7]]
