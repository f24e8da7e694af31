"""Budgets on a whole host: a tenant that burns CPU time next to one that does not, quotas through HTTP, the dense
profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from typer.testing import CliRunner

from host.cli.main import app
from host.config import Settings
from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

BURNER = b"""import {actor} from 'isolate';
export default actor({state: {n: 0}, actions: {
  burn: (c, n) => { let x = 0; for (let i = 0; i < n; i++) x += i; return (c.state.n += 1); },
  ok: (c) => (c.state.n += 1),
}});"""


async def tenant_actor(host: TestHost, tenant: str, key: str = "k") -> str:
    there = {"namespace": tenant}
    digest = (
        await host.http.post("/modules", params=there, content=BURNER, headers={"content-type": "text/javascript"})
    ).json()["digest"]
    assert (await host.http.put("/definitions/a", params=there, json={"module": digest})).status_code == 200
    made = await host.http.put("/actors", params=there, json={"name": "a", "key": key})
    actor_id: str = made.json()["actor"]["actor_id"]
    return actor_id


async def usage(host: TestHost, tenant: str) -> dict[str, Any]:
    answer = await host.http.get(f"/tenants/{tenant}/usage")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_who_burns_cpu_time_waits_for_it_and_the_neighbour_does_not(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(60):
        async with start_host(new_data_dir()) as host:
            quotas = {"quotas": {"tenant_cpu": 200, "tenant_cpu_burst": 100}}
            assert (await host.http.put("/tenants/burner/quotas", json=quotas)).status_code == 200
            burner, neighbour = await tenant_actor(host, "burner"), await tenant_actor(host, "neighbour")
            await host.call(neighbour, "ok")
            results: list[Any] = []
            began = anyio.current_time()
            done = anyio.Event()

            async def burn() -> None:
                for _ in range(6):
                    results.append(await host.call(burner, "burn", 1_000_000))
                done.set()

            calls = 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(burn)
                while not done.is_set():
                    await host.call(neighbour, "ok")
                    calls += 1
            took = anyio.current_time() - began
            assert results == [1, 2, 3, 4, 5, 6]
            burnt = await usage(host, "burner")
            # It never got more than it had saved and what it earned, but for the last hop, which nothing cuts short.
            assert burnt["cpu_ms"] * 5 / 6 <= 100 + 200 * took + 100
            assert burnt["held_up"] >= 1
            assert burnt["refusals"] == {}
            assert calls > 20
            assert (await usage(host, "neighbour"))["held_up"] == 0
            metrics = (await host.http.get("/metrics")).text
            assert 'dormice_limits_total{reason="tenant_cpu"}' in metrics
            assert 'dormice_tenants_slowed_total{reason="tenant_cpu"}' in metrics


async def test_quotas_are_refused_by_name_over_http_and_outlive_the_host(new_data_dir: Callable[[], Path]) -> None:
    folder = new_data_dir()
    with anyio.fail_after(60):
        async with start_host(folder) as host:
            first = await tenant_actor(host, "acme", "1")
            second = await tenant_actor(host, "acme", "2")
            quotas = {"tenant_actors": 1, "tenant_connections": 1, "tenant_definitions": 1, "tenant_modules": 300}
            answer = await host.http.put("/tenants/acme/quotas", json={"quotas": quotas})
            assert answer.json()["quotas"]["tenant_actors"] == {
                "used": 0, "allowed": 1, "maximum": 30_000, "unit": "actors", "own": True,
            }  # fmt: skip
            answer = await host.http.put("/tenants/acme/quotas", json={"quotas": {"tenant_actors": 0}})
            assert answer.json()["code"] == "invalid"
        async with start_host(folder) as host:
            await host.call(first, "ok")
            refused = await host.try_call(second, "ok")
            assert (refused.status_code, refused.json()["metadata"]) == (
                429,
                {"limit": "tenant_actors", "used": 2, "allowed": 1},
            )
            assert int(refused.headers["retry-after"]) >= 1
            there: dict[str, Any] = {"params": {"namespace": "acme"}}
            big = b"// " + b"x" * 300 + b"\n" + BURNER
            refused = await host.http.post(
                "/modules", content=big, headers={"content-type": "text/javascript"}, **there
            )
            assert refused.json()["metadata"]["limit"] == "tenant_modules"
            digest = (await host.http.get("/modules", **there)).json()["modules"][0]["digest"]
            refused = await host.http.put("/definitions/b", json={"module": digest}, **there)
            assert refused.json()["metadata"] == {"limit": "tenant_definitions", "used": 2, "allowed": 1}
            found = await usage(host, "acme")
            assert found["refusals"] == {"tenant_actors": 1, "tenant_definitions": 1, "tenant_modules": 1}
            assert found["quotas"]["tenant_actors"]["used"] == 1
            assert (await usage(host, "other"))["quotas"]["tenant_actors"]["own"] is False
            metrics = (await host.http.get("/metrics")).text
            for limit in ("tenant_actors", "tenant_definitions", "tenant_modules"):
                assert f'dormice_limits_total{{reason="{limit}"}} 1' in metrics


async def test_connections_of_a_tenant_are_counted_over_its_actors(new_data_dir: Callable[[], Path]) -> None:
    socket = b"""import {actor} from 'isolate';
    export default actor({onWebSocket(c, ws) { ws.onopen = () => ws.send("hi"); }});"""
    with anyio.fail_after(60):
        async with start_host(new_data_dir()) as host:
            await host.deploy("s", socket)
            one, other = await host.actor("s", "1"), await host.actor("s", "2")
            quotas = {"quotas": {"tenant_connections": 1}}
            assert (await host.http.put("/tenants/default/quotas", json=quotas)).is_success
            async with host.socket(one) as open_socket:
                assert await open_socket.recv() == "hi"
                assert (await usage(host, "default"))["quotas"]["tenant_connections"]["used"] == 1
                with pytest.raises(Exception, match="429"):
                    async with host.socket(other):
                        raise AssertionError("a second connection was let in")
            while (await usage(host, "default"))["quotas"]["tenant_connections"]["used"]:
                await anyio.lowlevel.checkpoint()
            async with host.socket(other) as open_socket:
                assert await open_socket.recv() == "hi"


async def test_a_javascript_actor_runs_on_the_dense_profile(new_data_dir: Callable[[], Path]) -> None:
    with anyio.fail_after(120):
        async with start_host(new_data_dir(), profile="dense") as host:
            actor = await tenant_actor(host, "default")
            assert [await host.call(actor, "ok") for _ in range(3)] == [1, 2, 3]
            assert (await host.http.post(f"/actors/{actor}/sleep")).is_success
            assert await host.call(actor, "ok") == 4
            spin = await host.try_call(actor, "burn", 10**12)
            assert isinstance(spin, httpx.Response)
            assert spin.json()["metadata"] == {"limit": "turn_deadline", "used": 1_000, "allowed": 1_000}
            assert await host.call(actor, "ok") == 5


def test_the_flags_of_serve_reach_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Settings] = []
    monkeypatch.setattr("host.node.run", lambda settings, **more: seen.append(settings))
    flags = ["--dev", "--data-dir", str(tmp_path)]
    for arguments, variables in (
        (["--profile", "dense", "--memory-reserve", "512M", "--max-actors", "30000"], {}),
        ([], {"DORMICE_PROFILE": "dense", "DORMICE_MEMORY_RESERVE": "512M", "DORMICE_MAX_ACTORS": "30000"}),
    ):
        result = CliRunner().invoke(app, ["serve", *flags, *arguments], env=variables)
        assert result.exit_code == 0, result.output
    chosen = [(settings.profile, settings.memory_reserve, settings.limits.actors) for settings in seen]
    assert chosen == [("dense", "512M", 30_000)] * 2
