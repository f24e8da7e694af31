"""What the client makes of a page of dead letters."""

from __future__ import annotations

import pytest

from host.client import Client

from .double import Double

pytestmark = pytest.mark.anyio

LETTER = {
    "kind": "message", "ref": "c", "index": 2, "reason": "guest/trap", "message": "m", "attempts": 3, "at": 9,
    "truncated": False, "base64": "/w==",
}  # fmt: skip


async def test_a_page_of_dead_letters_comes_typed_with_its_cursor() -> None:
    double = Double((200, {"dead_letters": [LETTER, LETTER | {"index": "9007199254740992", "text": "x"}],
                           "pagination": {"cursor": "2"}}), (200, {"dead_letters": [], "pagination": {}}))  # fmt: skip
    async with Client("http://host.test", transport=double) as host:
        page = await host.dead_letters("a", limit=2)
        last = await host.dead_letters("a", cursor=page.cursor)
    assert [(one.index, one.text, one.base64) for one in page.letters] == [
        (2, None, "/w=="),
        ("9007199254740992", "x", "/w=="),
    ]
    assert (last.letters, last.cursor) == ([], None)
    assert [double.line(0), double.line(1)] == [
        "GET /actors/a/dead-letters?limit=2",
        "GET /actors/a/dead-letters?cursor=2",
    ]
