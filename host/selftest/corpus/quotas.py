"""Limits of a whole tenant, and of what outlives a turn: each is set low for the tenant of the case, then run into."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import httpx

from host.selftest.case import Case
from host.selftest.drives import limit_thrown, script, seen_error, seen_limit
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import JS, Lab, error_of

__all__ = ["CASES"]

ERRORS = ("errors",)
WAITS = js_guest("await new Promise((done) => setTimeout(done, 20000));", more="onWebSocket() {},")


async def _quotas(lab: Lab, **quotas: int) -> None:
    answer = await lab.http.put(f"/tenants/{lab.tenant}/quotas", json={"quotas": quotas})
    check(answer.status_code == 200, f"the quotas were not taken: {answer.text}")


async def _upgrade(lab: Lab, actor: str) -> httpx.Response:
    """What an upgrade is answered that is refused before the handshake."""
    key = base64.b64encode(bytes(16)).decode()
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": key}
    return await lab.http.get(f"/gateway/{actor}/websocket/", headers=headers)


@script(
    "quotas/actors", "tenant_actors", "actions", "refused, and told to come back", ERRORS, limits=("tenant_actors",)
)
async def _actors(lab: Lab) -> str:
    """Actors that are busy cannot be put to sleep to make room."""
    await _quotas(lab, tenant_actors=2)
    await lab.deploy(WAITS)
    async with anyio.create_task_group() as tasks:
        for number in range(2):
            actor = await lab.actor(f"k{number}")
            await lab.output(actor, "ok")
            tasks.start_soon(lab.call, actor, "go")
        # both are in their handlers once a later call has been answered behind them
        answer = await lab.call(await lab.actor("k3"), "ok")
        told = seen_error(answer, "limit/exceeded", "node/full", limit="tenant_actors")
        tasks.cancel_scope.cancel()
    return told


@script(
    "quotas/starts", "tenant_starts", "actions", "refused, and told to come back", ERRORS, limits=("tenant_starts",)
)
async def _starts(lab: Lab) -> str:
    await _quotas(lab, tenant_starts=3)
    await lab.deploy(js_guest())
    answer: httpx.Response | None = None
    for number in range(8):
        answer = await lab.call(await lab.actor(f"k{number}"), "ok")
        if answer.status_code != 200:
            break
    assert answer is not None
    return seen_error(answer, "limit/exceeded", "node/full", limit="tenant_starts")


@script(
    "quotas/connections",
    "tenant_connections",
    "upgrades",
    "refused before the handshake",
    ERRORS,
    limits=("tenant_connections",),
)
async def _connections(lab: Lab) -> str:
    await _quotas(lab, tenant_connections=2)
    await lab.deploy(WAITS)
    held = [await lab.socket(await lab.actor(f"k{number}")) for number in range(2)]
    try:
        return seen_error(await _upgrade(lab, await lab.actor("k3")), "limit/exceeded", limit="tenant_connections")
    finally:
        for socket in held:
            await socket.close()


@script("quotas/modules", "tenant_modules", "uploads", "refused", ERRORS, limits=("tenant_modules",))
async def _modules(lab: Lab) -> str:
    await _quotas(lab, tenant_modules=3_000)
    answer: httpx.Response | None = None
    for number in range(20):
        answer = await lab.upload(js_guest(f"return {number};").encode(), JS)
        if answer.status_code != 201:
            break
    assert answer is not None
    return seen_error(answer, "limit/exceeded", limit="tenant_modules")


@script("quotas/definitions", "tenant_definitions", "deploys", "refused", ERRORS, limits=("tenant_definitions",))
async def _definitions(lab: Lab) -> str:
    await _quotas(lab, tenant_definitions=2)
    await lab.deploy(js_guest())
    digest = (await lab.http.get("/modules", params={"namespace": lab.tenant})).json()["modules"][0]["digest"]
    answer: httpx.Response | None = None
    for number in range(5):
        answer = await lab.define(f"d{number}", digest)
        if answer.status_code != 200:
            break
    assert answer is not None
    return seen_error(answer, "limit/exceeded", limit="tenant_definitions")


@script("quotas/tokens", "tenant_tokens", "HTTP", "refused", ERRORS, limits=("tenant_tokens",))
async def _tokens(lab: Lab) -> str:
    await _quotas(lab, tenant_tokens=2)
    answer: httpx.Response | None = None
    for _ in range(5):
        answer = await lab.http.post(f"/tenants/{lab.tenant}/tokens", json={"scopes": ["connect"]})
        if answer.status_code != 201:
            break
    assert answer is not None
    return seen_error(answer, "limit/exceeded", limit="tenant_tokens")


@script("quotas/auth-data", "auth_data", "actions", "refused", ERRORS, limits=("auth_data",))
async def _auth_data(lab: Lab) -> str:
    await lab.deploy(js_guest(more="auth() { return 'x'.repeat(5000); },"))
    answer = await lab.call(await lab.actor(), "ok")
    return seen_error(answer, "message/outgoing_too_long", limit="auth_data")


@script("quotas/claims", "token_claims", "HTTP", "refused", ERRORS, limits=("token_claims",))
async def _claims(lab: Lab) -> str:
    body = {"claims": {"all": "x" * 4_096}}
    answer = await lab.http.post(f"/tenants/{lab.tenant}/connection-tokens", json=body)
    return seen_error(answer, "limit/exceeded", limit="token_claims")


@script("quotas/token-lifetime", "token_lifetime", "HTTP", "refused", ERRORS, limits=("token_lifetime",))
async def _lifetime(lab: Lab) -> str:
    answer = await lab.http.post(f"/tenants/{lab.tenant}/connection-tokens", json={"expires_in": 2**52})
    return seen_error(answer, "limit/exceeded", limit="token_lifetime")


@script("quotas/timers", "tenant_timers", "host call", "limit/exceeded in the handler", limits=("tenant_timers",))
async def _timers(lab: Lab) -> str:
    await _quotas(lab, tenant_timers=10)
    await lab.deploy(
        js_guest("return await refusal(() => { for (let i = 0; i < 8; i++) setTimeout(() => {}, 6e4); });")
    )
    names: list[Any] = []
    for key in ("a", "b"):
        got = await lab.output(await lab.actor(key), "go")
        names.append(got["name"])
        if got["metadata"] is not None:
            seen_limit(got["metadata"], "tenant_timers")
    check("limit/exceeded" in names, f"the handlers saw {names}")
    return ", ".join(names)


@script("quotas/cpu", "tenant_cpu", "actions", "the tenant is slowed, others are not", ("tenants_slowed",))
async def _cpu(lab: Lab) -> str:
    await _quotas(lab, tenant_cpu=200, tenant_cpu_burst=50)
    await lab.deploy(js_guest("for (;;) {}"), limits={"turn_deadline": 200})
    began = lab.clock.monotonic()
    for number in range(5):
        seen_error(await lab.call(await lab.actor(f"k{number}"), "go"), "guest/deadline")
    seconds = lab.clock.monotonic() - began
    # five loops of 200 ms each, however much of it was CPU time on this machine, of which 50 ms are there at once
    check(seconds > 1.3, f"five loops of 200 ms of a tenant that earns 200 ms a second took {seconds:.1f} s")
    return f"1 s of work in {seconds:.1f} s"


def _truncated(name: str, limit: str, body: str) -> Case:
    """A session's client is away while the actor sends more than is kept."""

    @script(name, limit, "session", "4010 session.outbox_truncated", ("connections_closed", "limits"))
    async def run(lab: Lab) -> str:
        hook = "onWebSocket(c, s) { (globalThis.all ??= new Set()).add(s); s.onmessage = (e) => s.send(e.data); },"
        more = {"turn_deadline": 10_000, "host_call_bytes": 16 * 1024 * 1024}
        await lab.deploy(js_guest(f"for (const s of globalThis.all) {{ {body} }}", more=hook), limits=more)
        actor = await lab.actor()
        where = f"?dm-session={'S' * 30}"
        away = await lab.socket(actor, where)
        await away.send("here")
        check(await away.recv() == "here", "the session was wrong before the attack")
        away.transport.abort()
        await lab.output(actor, "go")
        await lab.output(actor, "ok")
        async with await lab.socket(actor, f"{where}&dm-next=2&dm-last-seen=1") as back:
            await back.wait_closed()
            told = f"{back.close_code} {back.close_reason}"
        check(told.startswith("4010 session.outbox_truncated"), f"closed with {told}")
        return told

    return run


@script(
    "quotas/error-metadata",
    "error_metadata",
    "action",
    "told to the caller as too long",
    ("events_failed", "errors"),
    limits=("error_metadata",),
)
async def _metadata(lab: Lab) -> str:
    await lab.deploy(js_guest("throw new UserError('m', { code: 'c', metadata: 'x'.repeat(200000) });"))
    return seen_error(await lab.call(await lab.actor(), "go"), "message/outgoing_too_long", limit="error_metadata")


def _headers(name: str, limit: str, made: str) -> Case:
    @script(name, limit, "response", "message/outgoing_too_long", ("events_failed", "errors"), limits=(limit,))
    async def run(lab: Lab) -> str:
        hook = f"onRequest() {{ const h = new Headers(); {made} return new Response('', {{ headers: h }}); }},"
        await lab.deploy(js_guest(more=hook))
        actor = await lab.actor()
        answer = await lab.http.get(f"/gateway/{actor}/request/")
        check(error_of(answer)["name"] == "message/outgoing_too_long", answer.text)
        return seen_error(answer, "message/outgoing_too_long", limit=limit)

    return run


CASES: tuple[Case, ...] = (
    _actors,
    _starts,
    _connections,
    _modules,
    _definitions,
    _tokens,
    _auth_data,
    _claims,
    _lifetime,
    _timers,
    _cpu,
    _truncated("quotas/outbox", "outbox", "for (let i = 0; i < 20; i++) s.send('x'.repeat(100000));"),
    _truncated("quotas/outbox-frames", "outbox_frames", "for (let i = 0; i < 1100; i++) s.send('x');"),
    _metadata,
    _headers("quotas/response-headers", "headers", "for (let i = 0; i < 500; i++) h.append('x-' + i, 'y');"),
    _headers(
        "quotas/response-header-bytes",
        "header_bytes",
        "for (let i = 0; i < 50; i++) h.append('x-' + i, 'y'.repeat(10000));",
    ),
    limit_thrown(
        "quotas/kv-keys", "kv_keys", "for (let i = 0; i < 20; i++) await c.kv.put('k' + i, 'v');", limits={"kv_keys": 5}
    ),
)
