"""A new version of the thing, the same on every kind of actor: deployed for modules, and for a class a higher `version`
in the next life of the program."""

from __future__ import annotations

import pytest

from host.static.spec import spec_of
from tests.actor.harness import CodeShelf, open_harness
from tests.behaviour.kinds import NAME, World, on_every_kind, source
from tests.behaviour.thing import Thing

pytestmark = pytest.mark.anyio


class SecondThing(Thing):
    version = 2


@on_every_kind("upgrade")
async def test_a_new_version_takes_over_at_a_wake_and_is_told_once(
    thing: World, shelf: CodeShelf, thing_wasm: bytes
) -> None:
    actor = await thing.actor()
    await thing.call(actor, "add", 5)
    await thing.sleep(actor)
    driver = thing.h.storage.driver
    registered = {NAME: spec_of(SecondThing)} if thing.kind == "static" else None
    async with open_harness(shelf, driver, registered=registered) as h:
        if thing.kind == "js":
            await h.define(source() + "// the second version", NAME)
        elif thing.kind == "wasm":
            # a custom section more: another module that does the same
            await h.define(thing_wasm + bytes((0, 2, 1)) + b"2", NAME)
        later = World(thing.kind, h)
        assert (await later.call(actor, "get"))["count"] == 5
        assert later.notes(actor) == ["create -", "wake", "sleep", "upgrade from 1", "wake"]
        assert (await h.record(actor)).version == 2
        await later.sleep(actor)
        assert await later.call(actor, "add", 1) == 6
        assert later.notes(actor)[5:] == ["sleep", "wake"]
