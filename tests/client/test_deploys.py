"""Deploys, status and reload, as the client asks and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from host.client import Client
from host.model.definitions import DeployFailure
from host.model.status import ActorStatus

from .double import Double

pytestmark = pytest.mark.anyio

DIGEST = "sha256:" + "1" * 64
STATUS: dict[str, Any] = {
    "actor_id": "a" * 32, "namespace": "default", "name": "counter", "key": ["x"], "generation": 2, "state": "failed",
    "version": 3, "module": DIGEST, "attempt": 4, "retry_at": 5, "held_version": 6, "started_at": 7, "slept_at": None,
    "last_error": {"group": "actor", "code": "start_failed", "message": "no", "metadata": {"limit": "x"}},
}  # fmt: skip


def client(double: Double) -> Client:
    return Client("http://host.test", transport=double)


async def test_a_deploy_says_how_it_is_to_be_rolled_out() -> None:
    double = Double(
        (201, {"digest": DIGEST, "kind": "js", "size": 3}),
        (200, {"name": "counter", "version": 4, "module": DIGEST, "percent": 10, "awake": 2}),
    )
    async with client(double) as host:
        made = await host.deploy("counter", b"src", "text/javascript", rollout={"percent": 10, "now": True})
    assert double.body(1) == {"module": DIGEST, "rollout": {"percent": 10, "now": True}}
    assert (made.version, made.percent, made.awake) == (4, 10, 2)


async def test_a_rollout_and_a_rollback_send_what_was_asked_for_only() -> None:
    made = {"name": "counter", "version": 4, "module": DIGEST, "percent": 50}
    back = made | {"from_version": 3, "to_version": 1}
    double = Double((200, made), (200, made), (200, back), (200, back))
    async with client(double) as host:
        await host.roll_out("a b", percent=50, now=True, rate=3)
        await host.roll_out("a")
        found = await host.roll_back("a", now=True)
        await host.roll_back("a")
    assert [double.line(n) for n in range(4)] == [
        "POST /definitions/a%20b/rollout",
        "POST /definitions/a/rollout",
        "POST /definitions/a/rollback",
        "POST /definitions/a/rollback",
    ]
    assert [double.body(n) for n in range(4)] == [{"percent": 50, "now": True, "rate": 3}, {}, {"now": True}, {}]
    assert (found.from_version, found.to_version, found.awake) == (3, 1, None)


async def test_the_history_of_a_definition_comes_with_its_failures() -> None:
    version = {
        "name": "counter", "version": 2, "module": DIGEST, "created_at": 9, "options": {}, "limits": {},
        "status": "failed", "percent": 10, "reason": "it broke",
    }  # fmt: skip
    failure = {"version": 2, "actor_id": "a" * 32, "at": 8, "reason": "it broke"}
    double = Double((200, {"versions": [version], "failures": [failure]}))
    async with client(double) as host:
        found = await host.deploys("counter")
    assert double.line() == "GET /definitions/counter/versions"
    (shown,) = found.versions
    assert (shown.version, shown.status, shown.percent, shown.reason, shown.created_at) == (
        2, "failed", 10, "it broke", 9,
    )  # fmt: skip
    assert found.failures == [DeployFailure(2, "a" * 32, 8, "it broke")]


async def test_status_and_reload_bring_the_error_back_whole() -> None:
    running = STATUS | {"state": "running", "last_error": None}
    double = Double((200, STATUS), (200, running))
    async with client(double) as host:
        failed: ActorStatus = await host.status("a" * 32)
        now = await host.reload("a" * 32)
    assert [double.line(n) for n in range(2)] == [f"GET /actors/{'a' * 32}/status", f"POST /actors/{'a' * 32}/reload"]
    assert failed.last_error is not None
    assert (failed.last_error.name, failed.last_error.metadata) == ("actor/start_failed", b'{"limit":"x"}')
    assert (failed.state, failed.attempt, failed.retry_at, failed.held_version) == ("failed", 4, 5, 6)
    assert (now.state, now.last_error) == ("running", None)
