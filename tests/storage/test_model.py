"""SQLite against the model: whatever is written, in whatever order and company, both drivers say the same."""

from __future__ import annotations

import asyncio
import faulthandler
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from host.model.effects import CommitUnit, KvDelete, KvDeleteRange, KvPut
from host.model.records import AttemptRow
from host.storage.driver import Fenced
from host.storage.memory import MemoryDriver
from tests.storage.conftest import sqlite_driver
from tests.storage.samples import FAILED, alarm, change, connection, ident, index, letter, run, wanted

T = TypeVar("T")


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Longer than for other tests: a failure is made small before it is reported, which runs many examples."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


KEYS = st.binary(max_size=3) | st.sampled_from([b"", b"a", b"b", b"ab", b"\xff"])
SMALL = st.integers(0, 3)
TIMES = st.integers(0, 2**63 - 1)
OPS = st.one_of(
    st.builds(KvPut, KEYS, st.binary(max_size=5)),
    st.builds(KvPut, KEYS, st.binary(max_size=5)),
    st.builds(KvDelete, KEYS),
    st.builds(KvDeleteRange, KEYS, st.none() | KEYS),
)
WRITES = st.fixed_dictionaries(
    {},
    optional={
        "kv": st.lists(OPS, max_size=8).map(tuple),
        "state": st.binary(max_size=5),
        "alarms": st.lists(st.builds(alarm, st.sampled_from("abc"), TIMES, fire_seq=SMALL), max_size=3).map(tuple),
        "runs": st.lists(st.builds(run, st.sampled_from("xy"), SMALL, finished_at=TIMES), max_size=3).map(tuple),
        "runs_trimmed": st.lists(st.tuples(st.sampled_from("xy"), SMALL), max_size=2).map(tuple),
        "alarms_gone": st.lists(st.tuples(st.sampled_from("abcd"), SMALL), max_size=3).map(tuple),
        "wake_at": st.none() | TIMES,
        "connections": st.lists(
            st.builds(connection, SMALL, state=st.none() | st.binary(max_size=3), gateway_id=st.sampled_from("gh")),
            max_size=2,
        ).map(tuple),
        "indexes": st.lists(st.builds(index, SMALL, TIMES, st.lists(TIMES, max_size=2).map(tuple)), max_size=3).map(
            tuple
        ),
        "connections_gone": st.lists(SMALL.map(lambda number: ident(800 + number)), max_size=2).map(tuple),
        "attempts": st.lists(
            st.builds(AttemptRow, st.sampled_from(["message", "closed"]), st.just("c"), SMALL, SMALL, SMALL), max_size=2
        ).map(tuple),
        "attempts_gone": st.lists(st.tuples(st.just("message"), st.just("c"), SMALL), max_size=2).map(tuple),
        "dead_letters": st.lists(st.builds(letter, SMALL), max_size=2).map(tuple),
        "actor": st.builds(change, attempt=SMALL, last_error=st.sampled_from([None, FAILED]), drop_input=st.booleans()),
    },
)
# Mostly units that fit; now and then one that is off by one somewhere.
OFF = st.sampled_from([(0, 0, 0)] * 8 + [(1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
CLAIMS = st.sampled_from([False, False, False, True])


class Drivers(RuleBasedStateMachine):
    """`shadow` is what the test believes is stored, so that it can make units that fit."""

    actors = Bundle("actors")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryDriver()
        self.sqlite = sqlite_driver(Path(self.folder.name))
        self.run(self.sqlite.open())
        self.created = 0
        self.shadow: dict[str, tuple[int, int, int]] = {}

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @rule(target=actors, key=st.sampled_from(["a", "b", "c"]), name=st.sampled_from(["x", "y"]), at=SMALL)
    def create(self, key: str, name: str, at: int) -> Any:
        self.created += 1
        asked = wanted(self.created, (key,), name=name, now=at, input=b"input")
        ours = self.run(self.model.get_or_create(asked))
        assert self.run(self.sqlite.get_or_create(asked)) == ours
        record, created = ours
        if not created:
            return multiple()
        self.shadow[record.actor_id] = (record.generation, 0, 0)
        return record.actor_id

    @rule(actor=actors)
    def destroy(self, actor: str) -> None:
        assert self.run(self.sqlite.finish_destroy(actor)) == self.run(self.model.finish_destroy(actor))
        self.shadow.pop(actor, None)

    @rule(actor=actors)
    def begin_destroy(self, actor: str) -> None:
        """What it still commits is as before; what it had before is not all there any more."""
        assert self.run(self.sqlite.begin_destroy(actor)) == self.run(self.model.begin_destroy(actor))

    @rule(parts=st.lists(st.tuples(actors, WRITES, OFF, CLAIMS), min_size=1, max_size=6))
    def commit_together(self, parts: list[tuple[str, dict[str, Any], tuple[int, int, int], bool]]) -> None:
        units: list[CommitUnit] = []
        for actor, writes, (off_generation, off_epoch, off_seq), claims in parts:
            generation, epoch, hop_seq = self.shadow.get(actor, (1, 0, 0))
            claims = claims or epoch == 0
            made = CommitUnit(
                actor,
                generation + off_generation,
                epoch + claims + off_epoch,
                hop_seq + 1 + off_seq,
                claims=claims,
                **writes,
            )
            units.append(made)
            if (off_generation, off_seq) == (0, 0) and (off_epoch == 0 or (claims and off_epoch > 0)):
                self.shadow[actor] = (made.generation, made.epoch, made.hop_seq)
        ours = self.run(commit_all(self.model, units))
        assert self.run(commit_all(self.sqlite, units)) == ours

    @invariant()
    def they_say_the_same(self) -> None:
        self.run(self.compare())

    async def compare(self) -> None:
        model, sqlite = self.model, self.sqlite
        for number in range(1, self.created + 1):
            actor = ident(number)
            image = await model.hydrate(actor)
            assert await sqlite.hydrate(actor) == image
            image = await model.hydrate(actor, destroying=True)
            assert await sqlite.hydrate(actor, destroying=True) == image
            assert await sqlite.get_actor(actor) == await model.get_actor(actor)
            assert await sqlite.kv_size(actor) == await model.kv_size(actor)
            ours, theirs = model.reader(actor), sqlite.reader(actor)
            rows = ours.range(b"", None, reverse=False, limit=100)
            assert theirs.range(b"", None, reverse=False, limit=100) == rows
            assert theirs.kv_bytes() == ours.kv_bytes() == (0 if image is None else image.record.kv_bytes)
            assert await sqlite.dead_letters(actor) == await model.dead_letters(actor)
        assert sorted(await sqlite.destroying(99)) == sorted(await model.destroying(99))
        for key in "abc":
            assert await sqlite.find("default", "x", (key,)) == await model.find("default", "x", (key,))
        assert await sqlite.count_actors("default", "x", 99) == await model.count_actors("default", "x", 99)
        assert await sqlite.due_actors(2**62, 3) == await model.due_actors(2**62, 3)
        assert sorted(await sqlite.strays("g", 99)) == sorted(await model.strays("g", 99))
        assert await sqlite.actor_names("default") == await model.actor_names("default")
        page = await model.list_actors("default", limit=2)
        assert await sqlite.list_actors("default", limit=2) == page
        if page.cursor is not None:
            rest = await model.list_actors("default", "x", cursor=page.cursor)
            assert await sqlite.list_actors("default", "x", cursor=page.cursor) == rest

    def teardown(self) -> None:
        self.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()


async def commit_all(driver: Any, units: list[CommitUnit]) -> list[str]:
    results = await asyncio.gather(*map(driver.commit, units), return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, Fenced), repr(result)
    return ["applied" if result is None else "fenced" for result in results]


TestDrivers = Drivers.TestCase
TestDrivers.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
