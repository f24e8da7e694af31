"""Dead letters over HTTP: whose they are, how a payload that a stranger made is shown, and how they page."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
import pytest

from host.gateway.auth import AuthPolicy
from host.model.effects import CommitUnit
from host.model.records import LETTER_PAYLOAD, ActorRecord, DeadLetter
from tests.gateway.support import World, error_of

pytestmark = pytest.mark.anyio


async def given_up(world: World, *letters: DeadLetter) -> ActorRecord:
    record = await world.actor()
    unit = CommitUnit(record.actor_id, record.generation, 1, 1, claims=True, dead_letters=letters)
    await world.driver.commit(unit)
    return record


def letter(payload: bytes, index: int = 1) -> DeadLetter:
    return DeadLetter("message", "c1", index, "guest/trap", "it trapped", 3, 5, payload)


async def shown(http: httpx.AsyncClient, record: ActorRecord, **query: Any) -> dict[str, Any]:
    response = await http.get(f"/actors/{record.actor_id}/dead-letters", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


async def test_a_letter_is_shown_with_its_reason_and_its_text(world: World, http: httpx.AsyncClient) -> None:
    record = await given_up(world, letter('{"a": "ü</script>\x00"}'.encode()))
    assert await shown(http, record) == {
        "dead_letters": [
            {
                "kind": "message",
                "ref": "c1",
                "index": 1,
                "reason": "guest/trap",
                "message": "it trapped",
                "attempts": 3,
                "at": 5,
                "truncated": False,
                "text": '{"a": "ü</script>\x00"}',
            }
        ],
        "pagination": {},
    }


async def test_bytes_that_are_no_text_are_shown_in_base64(world: World, http: httpx.AsyncClient) -> None:
    record = await given_up(world, letter(b"\xff\x00"))
    (found,) = (await shown(http, record))["dead_letters"]
    assert "text" not in found
    assert found["base64"] == b64encode(b"\xff\x00").decode()


async def test_a_text_that_was_cut_within_a_character_is_still_text(world: World, http: httpx.AsyncClient) -> None:
    cut = ("x" * (LETTER_PAYLOAD - 2) + "€").encode()[:LETTER_PAYLOAD]
    record = await given_up(world, letter(cut))
    (found,) = (await shown(http, record))["dead_letters"]
    assert (found["text"], found["truncated"]) == ("x" * (LETTER_PAYLOAD - 2), True)


async def test_an_index_beyond_what_a_number_holds_is_text(world: World, http: httpx.AsyncClient) -> None:
    record = await given_up(world, letter(b"", 2**53), letter(b"", 2**53 - 1))
    found = (await shown(http, record))["dead_letters"]
    assert [each["index"] for each in found] == [str(2**53), 2**53 - 1]


async def test_they_come_in_pages_the_oldest_first(world: World, http: httpx.AsyncClient) -> None:
    record = await given_up(world, *(letter(b"", number) for number in range(1, 6)))
    indexes: list[int] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await shown(http, record, limit=2, **cursor)
        indexes += [each["index"] for each in page["dead_letters"]]
        cursor = page["pagination"]
    assert (indexes, cursor) == ([1, 2, 3, 4, 5], {})
    assert (await shown(http, record, cursor="99"))["dead_letters"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=-1", "cursor=%D9%A1", "cursor=99999999999"]
)
async def test_a_page_that_cannot_be_is_refused(world: World, http: httpx.AsyncClient, query: str) -> None:
    record = await world.actor()
    response = await http.get(f"/actors/{record.actor_id}/dead-letters?{query}")
    assert (response.status_code, error_of(response)) == (400, "request/invalid")


async def test_an_actor_that_never_was_and_one_of_another_namespace_are_not_found(
    world: World, http: httpx.AsyncClient
) -> None:
    record = await given_up(world, letter(b"secret"))
    for path in (f"{'f' * 32}/dead-letters", f"{record.actor_id}/dead-letters?namespace=other", "x/dead-letters"):
        response = await http.get(f"/actors/{path}")
        assert (response.status_code, error_of(response)) == (404, "actor/not_found")
        assert "secret" not in response.text


async def test_they_are_for_operators_only() -> None:
    world = World(AuthPolicy(admin_token="t" * 20, public_actors=True))
    record = await given_up(world, letter(b"secret"))
    async with world.client() as http:
        response = await http.get(f"/actors/{record.actor_id}/dead-letters")
        assert (response.status_code, error_of(response)) == (401, "auth/unauthenticated")
        allowed = await http.get(
            f"/actors/{record.actor_id}/dead-letters", headers={"authorization": f"Bearer {'t' * 20}"}
        )
        assert allowed.status_code == 200
