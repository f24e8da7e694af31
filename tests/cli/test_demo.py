"""The demo's story, told by a real host in a process of its own: it is killed on the way."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from host.cli.demo import show_demo
from host.model.errors import DormiceError

pytestmark = pytest.mark.anyio

ROOM = Path(__file__).parent / "room.js"


async def test_the_story_is_true_from_a_url_to_a_host_that_was_killed() -> None:
    out = io.StringIO()
    told: list[str] = []
    with anyio.fail_after(60):
        await show_demo(Console(file=out, width=200), ROOM, once=True, told=told)
    text = out.getvalue()
    assert text.count("✓") == 11
    assert "ada: msgIndex 5, bob: msgIndex 2" in text
    assert "all 7 messages" in text
    assert told[0] in text
    assert text.endswith("all checks passed\n")


async def test_a_room_that_loses_a_message_fails_the_demo(tmp_path: Path) -> None:
    forgetful = tmp_path / "room.js"
    source = ROOM.read_text().replace("await c.kv.put(", 'if (event.data !== "hello?") await c.kv.put(')
    forgetful.write_text(source)
    with anyio.fail_after(60), pytest.raises(DormiceError) as caught:
        await show_demo(Console(file=io.StringIO()), forgetful, once=True, told=[])
    assert caught.value.name == "demo/check_failed"
    assert "history is complete" in caught.value.message
