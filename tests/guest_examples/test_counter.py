"""The example `counter`, on a real host."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import anyio
import cbor2
import pytest

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio


async def test_each_key_is_a_counter_of_its_own(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("counter", (examples / "counter" / "actor.js").read_bytes())
        one, two = await host.actor("counter", "one"), await host.actor("counter", "two")
        assert await host.call(one, "increment") == 1
        assert await host.call(one, "increment", 5) == 6
        assert await host.call(two, "get") == 0
        assert await host.call(one, "reset") == 0


async def test_it_starts_at_what_its_creator_sent_along(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("counter", (examples / "counter" / "actor.js").read_bytes())
        given = base64.b64encode(cbor2.dumps({"start": 40})).decode()
        actor = await host.actor("counter", "one", input=given)
        assert await host.call(actor, "increment", 2) == 42


async def test_a_bad_argument_is_told_to_the_caller_and_changes_nothing(host: TestHost, examples: Path) -> None:
    with anyio.fail_after(20):
        await host.deploy("counter", (examples / "counter" / "actor.js").read_bytes())
        actor = await host.actor("counter")
        answer = await host.try_call(actor, "increment", "many")
        assert answer.status_code == 400
        assert (answer.json()["group"], answer.json()["code"]) == ("user", "not_a_number")
        assert await host.call(actor, "get") == 0


async def test_the_count_survives_a_restart_of_the_host(new_data_dir: Callable[[], Path], examples: Path) -> None:
    with anyio.fail_after(30):
        data_dir = new_data_dir()
        async with start_host(data_dir) as host:
            await host.deploy("counter", (examples / "counter" / "actor.js").read_bytes())
            actor = await host.actor("counter")
            assert await host.call(actor, "increment", 7) == 7
        async with start_host(data_dir) as host:
            assert await host.actor("counter") == actor
            assert await host.call(actor, "get") == 7
