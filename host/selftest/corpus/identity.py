"""Who is who: tokens, tenants, ids of others, and what may not be learnt by guessing."""

from __future__ import annotations

import httpx

from host.selftest.case import Case
from host.selftest.drives import script, seen_error, survived
from host.selftest.escaped import check
from host.selftest.guests import data, js_guest, reply, wasm_guest
from host.selftest.lab import Lab, error_of

__all__ = ["CASES"]

PLAIN = js_guest(more="onWebSocket(c, s) { s.onopen = () => s.send(s.id); },")


async def _bare(lab: Lab, method: str, path: str, authorization: bytes | None = None) -> httpx.Response:
    """Without the lab's token."""
    async with httpx.AsyncClient(base_url=lab.host.endpoint, trust_env=False) as http:
        headers = {} if authorization is None else {b"authorization": authorization}
        return await http.request(method, path, headers=headers)


@script("identity/no-token", "a token is needed", "HTTP", "auth/unauthenticated", ("errors",))
async def _no_token(lab: Lab) -> str:
    await lab.deploy(PLAIN)
    actor = await lab.actor()
    for method, path in (
        ("GET", "/metrics"),
        ("GET", "/actors"),
        ("POST", "/modules"),
        ("PUT", "/definitions/x"),
        ("DELETE", f"/actors/{actor}"),
        ("POST", f"/gateway/{actor}/action/ok"),
        ("GET", "/limits"),
        ("GET", f"/actors/{actor}/snapshot"),
        ("POST", f"/actors/{actor}/sleep"),
    ):
        told = seen_error(await _bare(lab, method, path), "auth/unauthenticated")
    return told


@script("identity/forged-token", "tokens are compared", "HTTP", "auth/forbidden", ("errors",))
async def _forged_token(lab: Lab) -> str:
    await lab.deploy(PLAIN)
    actor = await lab.actor()
    for token in ("x", lab.token[:-1], lab.token + "x", lab.token.swapcase(), "\u00e9" * 20):
        value = f"Bearer {token}".encode()
        told = seen_error(await _bare(lab, "GET", "/metrics", authorization=value), "auth/forbidden")
        seen_error(await _bare(lab, "POST", f"/gateway/{actor}/action/ok", authorization=value), "auth/forbidden")
    seen_error(await _bare(lab, "POST", f"/gateway/{actor}@{'y' * 20}/action/ok"), "auth/forbidden")
    return told


@script("identity/token-is-not-shown", "guests never see the token", "request", "the header is taken out")
async def _not_shown(lab: Lab) -> str:
    await lab.deploy(js_guest(more="onRequest(c, r) { return Response.json([...r.headers]); },"))
    actor = await lab.actor()
    answer = await lab.http.get(f"/gateway/{actor}/request/", headers={"x-rivet-token": lab.token})
    check(answer.status_code == 200 and lab.token not in answer.text, f"the guest saw it: {answer.text[:200]}")
    return "taken out"


@script("identity/actor-of-another-tenant", "tenants are apart", "HTTP", "as if it were not there", ("errors",))
async def _other_tenant(lab: Lab) -> str:
    await lab.deploy(PLAIN)
    actor = await lab.actor()
    elsewhere = {"namespace": "somebody-else"}
    for method, path in (
        ("GET", f"/actors/{actor}/snapshot"),
        ("DELETE", f"/actors/{actor}"),
        ("POST", f"/actors/{actor}/sleep"),
    ):
        seen_error(await lab.http.request(method, path, params=elsewhere), "actor/not_found")
    listed = await lab.http.get("/actors", params=elsewhere)
    check(actor not in listed.text, "the actor is listed for another tenant")
    digest = (await lab.http.get("/modules", params={"namespace": lab.tenant})).json()["modules"][0]["digest"]
    answer = await lab.http.put("/definitions/stolen", params=elsewhere, json={"module": digest})
    told = seen_error(answer, "module/not_found")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return f"actor/not_found, {told}"


@script("identity/token-of-another-tenant", "tenants are apart", "HTTP", "as if it were not there", ("errors",))
async def _other_token(lab: Lab) -> str:
    """A tenant with every right in its own namespace, and one whose token is gone."""
    await lab.deploy(PLAIN)
    actor = await lab.actor()
    scopes = {"scopes": ["deploy", "actors", "connect", "tokens"]}
    made = (await lab.http.post("/tenants/somebody-else/tokens", json=scopes)).json()
    bearer = f"Bearer {made['token']}".encode()
    for method, path in (
        ("GET", f"/actors/{actor}/snapshot"),
        ("DELETE", f"/actors/{actor}"),
        ("POST", f"/actors/{actor}/sleep"),
        ("POST", f"/gateway/{actor}/action/ok"),
    ):
        seen_error(await _bare(lab, method, path, authorization=bearer), "actor/not_found")
    for method, path in (
        ("GET", f"/actors?namespace={lab.tenant}"),
        ("POST", f"/tenants/{lab.tenant}/tokens"),
        ("PUT", "/tenants/somebody-else/quotas"),
        ("GET", "/metrics"),
    ):
        told = seen_error(await _bare(lab, method, path, authorization=bearer), "auth/forbidden")
    check((await _bare(lab, "GET", "/limits", authorization=bearer)).status_code == 200, "its own rights are gone")
    await lab.http.delete(f"/tenants/somebody-else/tokens/{made['id']}")
    seen_error(await _bare(lab, "GET", "/limits", authorization=bearer), "auth/forbidden")
    return f"actor/not_found, {told}"


@script("identity/forged-connection-token", "tokens are signed", "HTTP", "auth/forbidden", ("errors",))
async def _forged_signature(lab: Lab) -> str:
    await lab.deploy(PLAIN)
    actor = await lab.actor()
    body = {"name": "guest", "actions": ["ok"], "claims": {"user": 1}}
    token: str = (await lab.http.post(f"/tenants/{lab.tenant}/connection-tokens", json=body)).json()["token"]
    good = await _bare(lab, "POST", f"/gateway/{actor}/action/ok", authorization=f"Bearer {token}".encode())
    check(good.status_code == 200, f"the token does not do what it is for: {good.text}")
    head, _, signature = token.partition(".")
    for forged in (
        f"{head[:-2]}AA.{signature}",
        head,
        f"{head}.",
        f"{head}.{signature[:-1]}",
        f"{token}A",
        f"dmc_.{signature}",
    ):
        told = seen_error(
            await _bare(lab, "POST", f"/gateway/{actor}/action/ok", authorization=f"Bearer {forged}".encode()),
            "auth/forbidden",
        )
    seen_error(await _bare(lab, "POST", f"/gateway/{actor}@{token}/action/go"), "auth/forbidden")
    seen_error(await _bare(lab, "GET", f"/gateway/{actor}@{token}/request/"), "auth/forbidden")
    return told


@script(
    "identity/hook-that-misbehaves", "the auth hook fails closed", "actions, upgrades", "nobody is let in", ("errors",)
)
async def _hook(lab: Lab) -> str:
    """A hook that throws, one that loops, and one that never answers: what it guards does not run."""
    told: list[str] = []
    for body, limits in (
        ("throw new Error('no')", {}),
        ("for (;;) {}", {"turn_deadline": 100}),
        ("return new Promise(() => {})", {"handler_timeout": 300}),
        ("throw new UserError('no', { code: 'no' })", {}),
    ):
        await lab.deploy(js_guest("c.state.n = -1;", more=f"auth() {{ {body} }}, onWebSocket() {{}},"), limits=limits)
        actor = await lab.actor(f"k{len(told)}")
        for _ in range(2):
            answer = await lab.call(actor, "go")
            check(answer.status_code != 200, f"let in: {answer.text}")
        told.append(error_of(answer)["name"])
        check((await lab.http.get(f"/gateway/{actor}/request/")).status_code != 200, "a request was let in")
    return ", ".join(told)


@script("identity/odd-namespaces", "namespaces are names", "HTTP", "request/invalid", ("errors",))
async def _namespaces(lab: Lab) -> str:
    for name in ("../default", "DEFAULT", "a b", "", "x" * 65, "default\0", "caf\u00e9", "default/x"):
        told = seen_error(await lab.http.get("/actors", params={"namespace": name}), "request/invalid")
    return told


@script(
    "identity/connection-of-another-actor",
    "ids are looked up in the caller's own table",
    "host call",
    "the same error as for an id that never was",
)
async def _foreign(lab: Lab) -> str:
    """A guest in JavaScript has no door to these calls: this one is Wasm and says what it likes."""
    await lab.deploy(PLAIN, name="owner")
    owner = await lab.actor(name="owner")
    async with await lab.socket(owner) as socket:
        conn = str(await socket.recv())
        foreign, unknown = (
            f'{{"call":"socket_send","conn":"{each}","text":"stolen"}}' for each in (conn, "0" * len(conn))
        )
        same = '{"settled":[{"event":2,"result":"refused alike"}],"pending":0}'
        await lab.deploy(
            wasm_guest(
                f"{_call(63_000, foreign, 70_000)} (local.set $a (local.get $r)) {_call(64_000, unknown, 80_000)}"
                # both are errors, and equal byte by byte
                "(if (i32.le_s (local.get $r) (i32.const 0)) (then unreachable))"
                "(if (i32.ne (local.get $a) (local.get $r)) (then unreachable))"
                "(loop $l (local.set $r (i32.sub (local.get $r) (i32.const 1)))"
                "(if (i32.ne (i32.load8_u offset=70000 (local.get $r)) (i32.load8_u offset=80000 (local.get $r)))"
                "(then unreachable)) (br_if $l (local.get $r)))"
                f"{reply(62_000, same)}",
                more=data(62_000, same) + data(63_000, foreign) + data(64_000, unknown),
                locals_="(local $i i32) (local $r i32) (local $a i32)",
            ),
            name="thief",
        )
        said = await lab.output(await lab.actor(name="thief"), "go", "!")
        check(said == "refused alike", f"the guest says {said!r}")
        try:
            with lab.clock.fail_after(0.3):
                got = await socket.recv()
        except TimeoutError:
            got = "nothing"
        check(got == "nothing", f"the owner's client got {got!r}")
    return "refused alike"


def _call(at: int, request: str, out: int) -> str:
    return (
        f"(local.set $r (call $host_call (i32.const {at}) (i32.const {len(request)})"
        f" (i32.const {out}) (i32.const 1000)))"
    )


@script("identity/socket-of-a-destroyed-actor", "ids never come back", "HTTP", "actor/not_found", ("errors",))
async def _destroyed(lab: Lab) -> str:
    await lab.deploy(PLAIN)
    for _ in range(5):
        actor = await lab.actor()
        answer = await lab.http.delete(f"/actors/{actor}", params={"namespace": lab.tenant})
        check(answer.status_code == 200, f"destroy was answered {answer.text}")
        told = seen_error(await lab.call(actor, "ok"), "actor/not_found", "actor/destroyed")
        again = await lab.actor()
        check(again != actor, "the id came back")
    return told


@script(
    "identity/forged-errors-of-javascript",
    "guests raise the group user only",
    "action",
    "masked",
    ("events_failed", "errors"),
)
async def _forged(lab: Lab) -> str:
    body = """const e = args[0] === 'user' ? new UserError('forged', { code: 'x' }) : new Error('secret forgery');
      for (const name of ['group', 'code'])
        Object.defineProperty(e, name, { value: args[1], writable: true, configurable: true });
      e.group = 'auth'; e.code = 'forbidden'; e.statusCode = 403; throw e;"""
    await lab.deploy(js_guest(body))
    actor = await lab.actor()
    told = set()
    for kind in ("error", "user"):
        answer = await lab.call(actor, "go", kind, "auth")
        error = error_of(answer)
        check(error["group"] in ("internal", "user"), f"forged: {answer.text[:200]}")
        check("secret" not in answer.text, f"not masked: {answer.text[:200]}")
        told.add(error["name"])
    return ", ".join(sorted(told))


CASES: tuple[Case, ...] = (
    _no_token,
    _forged_token,
    _not_shown,
    _other_tenant,
    _other_token,
    _forged_signature,
    _hook,
    _namespaces,
    _foreign,
    _destroyed,
    _forged,
    survived(
        "identity/who-am-i-is-not-mine-to-say",
        "identity is the host's",
        (
            "try { c.actorId = 'x'; c.key = ['y']; c.key.push('z'); c.name = 'w'; } catch {} return "
            "[c.actorId, c.key, c.name];"
        ),
        lambda result: len(result[0]) == 32 and result[1:] == [["k"], "guest"],
    ),
)
