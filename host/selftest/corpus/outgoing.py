"""Calls of guests: to one another in floods and cycles, to strangers' actors, and to where the host could not go."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.corpus.network import URLS
from host.selftest.drives import limit_thrown, script, seen_limit
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab

__all__ = ["CASES"]

# What an awaited call came to, as name and metadata.
TRIED = """const tried = (p) => p.then(
  () => ({ name: "answered" }),
  (e) => ({ name: `${e.group}/${e.code}`, metadata: e.metadata ?? null }));"""


@script("outgoing/cycle", "call_depth", "actor_call", "refused at its depth", ("actor_calls",), limits=("call_depth",))
async def _cycle(lab: Lab) -> str:
    """Two actors call each other for ever; whoever is refused keeps what it was told in its state."""
    await lab.deploy(
        f"""import {{ actor }} from "isolate";
{TRIED}
export default actor({{
  state: {{ told: null }},
  actions: {{
    get: (c) => c.state.told,
    async go(c, other) {{
      const got = await tried(c.client().guest.getOrCreate([other]).go(c.key[0]));
      if (got.name !== "answered") c.state.told = got;
    }},
  }},
}});
"""
    )
    a, b = await lab.actor("a"), await lab.actor("b")
    await lab.output(a, "go", "b")
    told = await lab.output(a, "get") or await lab.output(b, "get")
    check(told is not None and told["name"] == "actor/call_too_deep", f"the actors were told {told}")
    seen_limit(told["metadata"], "call_depth")
    return "actor/call_too_deep"


@script("outgoing/foreign-tenant", "tenants are apart", "actor_call", "as if it were not there", ("actor_calls",))
async def _foreign(lab: Lab) -> str:
    """By its id, and by a name and key that only the other tenant has."""
    elsewhere = {"namespace": f"{lab.tenant}-other"}
    await lab.deploy(js_guest(f"{TRIED} return await tried(eval(args[0])(c.client(), args[1]));"))
    digest = (await lab.http.get("/modules", params={"namespace": lab.tenant})).json()["modules"][0]["digest"]
    await lab.http.post(
        "/modules", params=elsewhere, content=js_guest().encode(), headers={"content-type": "text/javascript"}
    )
    mine = (await lab.http.get("/modules", params=elsewhere)).json()["modules"][0]["digest"]
    check(mine != digest, "the two tenants have the same module")
    await lab.http.put("/definitions/theirs", params=elsewhere, json={"module": mine})
    made = await lab.http.put("/actors", params=elsewhere, json={"name": "theirs", "key": "k"})
    foreign = made.json()["actor"]["actor_id"]
    actor = await lab.actor()
    for how, name in (
        ("(client, id) => client.theirs.getForId(id).ok()", "actor/not_found"),
        ("(client, id) => client.theirs.get(['k']).ok()", "actor/not_found"),
        ("(client, id) => client.theirs.getOrCreate(['k']).ok()", "definition/not_found"),
    ):
        got = await lab.output(actor, "go", how, foreign)
        check(got["name"] == name, f"{how} was told {got}")
    await lab.http.delete(f"/actors/{foreign}", params=elsewhere)
    return "not found"


@script(
    "outgoing/late",
    "call_timeout",
    "actor_call",
    "the caller is told after its time",
    ("actor_calls",),
    limits=("call_timeout",),
)
async def _late(lab: Lab) -> str:
    body = f"""{TRIED}
if (args[0] === "wait") return await new Promise((done) => setTimeout(done, 20_000));
return await tried(c.client().guest.getOrCreate(["other"]).action({{ name: "go", args: ["wait"], timeout: 200 }}));"""
    await lab.deploy(js_guest(body))
    got = await lab.output(await lab.actor(), "go")
    check(got["name"] == "actor/call_timed_out", f"the caller was told {got}")
    seen_limit(got["metadata"], "call_timeout")
    await lab.actor("other")
    return str(got["name"])


# Whatever a definition opens; `*` is every public host.
OPEN = {"egress": {"hosts": ["*", "127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1"]}}


async def _told(lab: Lab, body: str, *args: object, options: dict[str, object] | None = None) -> list[str]:
    """What the fetches in the body came to."""
    await lab.deploy(js_guest(f"{TRIED} {body}"), options=OPEN if options is None else options)
    got = await lab.output(await lab.actor(), "go", *args)
    return [str(one["name"]) for one in got]


def _inside(part: str, urls: list[str]) -> Case:
    @script(f"outgoing/fetch-{part}", "addresses are checked", "fetch", "refused before anything is sent", ("fetches",))
    async def run(lab: Lab) -> str:
        """A URL that is none is refused by `Request`; every other one by the host."""
        told = await _told(lab, "return await Promise.all(args[0].map((url) => tried(fetch(url))));", urls)
        wrong = [(url, name) for url, name in zip(urls, told, strict=True) if name not in REFUSED]
        check(not wrong, f"not refused: {wrong}")
        check("fetch/refused" in told, "none of them came to the host")
        return f"{len(urls)} URLs refused"

    return run


# A guest's URL reads these as browsers do, as honest names of the Internet.
MENDED = ("network/no-host", "network/backslash")
REFUSED = ("fetch/refused", "undefined/undefined")


@script("outgoing/fetch-closed", "egress is off", "fetch", "fetch/refused in the handler", ("fetches",))
async def _closed(lab: Lab) -> str:
    (told,) = await _told(lab, "return [await tried(fetch('https://example.com/'))];", options={})
    check(told == "fetch/refused", f"the handler was told {told}")
    return told


@script("outgoing/fetch-forged", "headers are the host's own", "fetch", "fetch/refused in the handler", ("fetches",))
async def _forged(lab: Lab) -> str:
    """Headers and methods that would say who is asked, by whom, or where a request ends."""
    forged = """[
      { headers: { host: "other.example" } }, { headers: { "content-length": "0" }, method: "POST", body: "GET /" },
      { headers: { "transfer-encoding": "chunked" } }, { headers: { "x-forwarded-for": "10.0.0.1" } },
      { headers: { "proxy-authorization": "x" } }, { headers: { connection: "upgrade", upgrade: "websocket" } },
      { method: "CONNECT" }, { method: "TRACE" }]"""
    told = await _told(
        lab, f"return await Promise.all({forged}.map((init) => tried(fetch('https://example.com/', init))));"
    )
    check(set(told) == {"fetch/refused"}, f"the handler was told {told}")
    return "fetch/refused"


def _over_quota(name: str, quota: str, allowed: int, body: str) -> Case:
    @script(name, quota, "actor_call", "limit/exceeded in the handler", ("limits",), limits=(quota,))
    async def run(lab: Lab) -> str:
        answer = await lab.http.put(f"/tenants/{lab.tenant}/quotas", json={"quotas": {quota: allowed}})
        check(answer.status_code == 200, f"the quotas were not taken: {answer.text}")
        await lab.deploy(js_guest(f"{TRIED} {body}"))
        got = await lab.output(await lab.actor(), "go")
        refused = [one for one in got if one["name"] == "limit/exceeded"]
        check(bool(refused), f"the handler was told {got}")
        for one in refused:
            seen_limit(one["metadata"], quota)
        check(await lab.output(await lab.actor(), "ok") == 1, "the actor did not go on as it was")
        return f"limit/exceeded ({quota})"

    return run


CASES: tuple[Case, ...] = (
    _cycle,
    _foreign,
    _late,
    limit_thrown(
        "outgoing/flood",
        "calls",
        "for (let i = 0; i < 9; i++) { let no; const p = c.client().none.get(['k']).x(); p.catch((e) => { no = e; }); "
        "await Promise.resolve(); await Promise.resolve(); if (no) throw no; }",
        limits={"calls": 5},
    ),
    _over_quota(
        "outgoing/flood-of-a-tenant",
        "tenant_calls",
        5,
        "return await Promise.all([...Array(9)].map(() => tried(c.client().none.get(['k']).x())));",
    ),
    _over_quota(
        "outgoing/bytes-of-a-tenant",
        "tenant_call_bytes",
        10_000,
        "return await Promise.all([...Array(3)].map(() => tried(c.client().none.get(['k']).x('y'.repeat(6_000)))));",
    ),
    _over_quota(
        "outgoing/fetches-of-a-tenant",
        "tenant_fetches",
        3,
        "return await Promise.all([...Array(6)].map(() => tried(fetch('https://example.com/'))));",
    ),
    *(_inside(f"urls-{at}", [url for name, url in URLS if name not in MENDED][at::4]) for at in range(4)),
    _closed,
    _forged,
)
