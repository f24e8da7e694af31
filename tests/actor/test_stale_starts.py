"""What a start comes to after its deadline: that attempt is over, and everybody has been told so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from host.model.records import ActorRecord
from host.model.sources import Dynamic, LoadContext, ModuleSource
from tests.actor.harness import CodeShelf, Failed, Harness, open_harness

pytestmark = pytest.mark.anyio

ALLOWED = 15


class Asked:
    """Callers of an actor that starts, and what they got."""

    def __init__(self, h: Harness, actor: str, action: str, *args: int) -> None:
        self._h, self._actor, self._action, self._args = h, actor, action, args
        self.got: list[object] = []

    async def ask(self) -> None:
        try:
            self.got.append(await self._h.call(self._actor, self._action, *self._args))
        except Failed as error:
            self.got.append(error.info.name)

    @asynccontextmanager
    async def by(self, callers: int) -> AsyncGenerator[None]:
        self.got.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(self.ask)
            yield


def failed_once(record: ActorRecord) -> bool:
    return (record.lifecycle, record.attempt, record.started_once) == ("failed", 1, False)


def saying(word: str) -> ModuleSource:
    return ModuleSource.javascript(
        f"""
        import {{ actor }} from "isolate";
        export default actor({{
            onCreate: (c) => c.kv.put("made by", "{word}"),
            actions: {{ say: async (c) => ["{word}", await c.kv.get("made by")] }},
        }});
        """
    )


async def test_the_answer_of_a_loader_after_the_deadline_is_ignored_and_the_next_attempt_asks_again(
    shelf: CodeShelf,
) -> None:
    answer = anyio.Event()
    attempts = 0

    async def load(context: LoadContext) -> ModuleSource:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            return saying("second")
        with anyio.CancelScope(shield=True):  # deaf to the deadline
            await answer.wait()
        return saying("first")

    async with open_harness(shelf, registered={"a": Dynamic(load)}) as h:
        actor = await h.actor()
        asked = Asked(h, actor, "say")
        async with asked.by(2):
            await h.advance(ALLOWED + 1)
            jobs = h.executor.jobs
            answer.set()
        assert asked.got == ["actor/start_failed"] * 2
        assert h.executor.jobs == jobs, "nothing of it runs, not even to make its guest"
        assert failed_once(await h.record(actor))
        assert h.storage.units[-1].kv == ()
        await h.advance(1)
        async with asked.by(2):
            pass
        assert asked.got == [["second", "second"]] * 2
        assert attempts == 2


async def test_a_guest_that_is_made_after_the_deadline_is_closed_and_never_entered(h: Harness) -> None:
    actor = await h.probe(input={"start": ""})
    asked = Asked(h, actor, "inc", 1)
    jobs = h.executor.jobs
    async with asked.by(3):
        h.executor.hold()
        await h.executor.until_held()  # it is made
        await h.advance(ALLOWED)
        h.executor.release()
    assert asked.got == ["actor/start_failed"] * 3
    await h.rest()
    assert h.executor.jobs == jobs + 2, "it is made and closed"
    assert failed_once(await h.record(actor))
    await h.advance(1)
    async with asked.by(3):
        pass
    assert asked.got == [1, 2, 3]


async def test_a_start_that_settles_after_the_deadline_has_failed_and_nothing_of_it_is_written(h: Harness) -> None:
    actor = await h.probe(input={"start": f"wait:{(ALLOWED - 1) * 1_000}"})
    asked = Asked(h, actor, "inc", 1)
    async with asked.by(3):
        await h.advance(ALLOWED - 2)
        written = len(h.storage.units)
        h.executor.hold()
        await h.advance(1)
        await h.executor.until_held()  # the turn in which it settles is over on its thread
        await h.advance(1)
        h.executor.release()
    assert asked.got == ["actor/start_failed"] * 3
    assert failed_once(await h.record(actor))
    (unit,) = h.storage.units[written:]
    assert (unit.kv, unit.state) == ((), None)
    assert h.count("start_failures", "actor/start_failed") == 1
