"""Lookups of names: what one tenant's name server does not answer holds up nobody else, and is not waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import anyio
import pytest

from host.outbound.lookups import EACH, OWNER, Lookups

pytestmark = pytest.mark.anyio

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))] * 2


class Names:
    """`slow.example` is answered when the test says so."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[tuple[object, ...]]:
        self.asked.append(host)
        if host == "none.example":
            raise socket.gaierror(-2, "unknown")
        if host == "slow.example":
            assert self.release.wait(10)
        return list(FOUND)


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.release.set()


async def look(lookups: Lookups, owner: str, host: str) -> tuple[str, ...]:
    OWNER.set(owner)
    return tuple(await lookups(host, 443))


async def until_gone(lookups: Lookups) -> None:
    while len(lookups):
        await anyio.lowlevel.checkpoint()


async def test_addresses_come_once_each_and_errors_as_the_system_raises_them(names: Names) -> None:
    with anyio.fail_after(10):
        lookups = Lookups(names)
        assert await look(lookups, "a", "fast.example") == ("192.0.2.1",)
        with pytest.raises(socket.gaierror):
            await look(lookups, "a", "none.example")
        assert len(lookups) == 0


async def test_names_that_nobody_answers_hold_up_their_owner_s_lookups_and_no_others(names: Names) -> None:
    with anyio.fail_after(10):
        lookups = Lookups(names)
        async with anyio.create_task_group() as tasks:
            for _ in range(20 * EACH):
                tasks.start_soon(look, lookups, "greedy", "slow.example")
            await anyio.wait_all_tasks_blocked()
            assert await look(lookups, "other", "fast.example") == ("192.0.2.1",)
            assert names.asked.count("slow.example") == EACH
            names.release.set()
        assert names.asked.count("slow.example") == 20 * EACH
        assert len(lookups) == 0


async def test_a_lookup_that_nobody_waits_for_any_more_counts_until_it_is_over(names: Names) -> None:
    with anyio.fail_after(10):
        lookups = Lookups(names)
        async with anyio.create_task_group() as tasks:
            for _ in range(EACH + 3):
                tasks.start_soon(look, lookups, "greedy", "slow.example")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert len(lookups) == EACH
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, lookups, "greedy", "fast.example")
            await anyio.wait_all_tasks_blocked()
            assert "fast.example" not in names.asked
            names.release.set()
        assert "fast.example" in names.asked
        await until_gone(lookups)
