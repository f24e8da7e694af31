"""The ways in which cases are driven: each function makes a `Case` out of data.

Wherever something is refused the error is looked at as a whole: its status and code, limit, used and allowed where a
limit refuses, and that it shows nothing of the host's insides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from host.model.errors import status_of
from host.selftest.case import Case
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import JS, WASM, Lab, error_of

__all__ = [
    "Code",
    "action_fault",
    "limit_thrown",
    "refused_upload",
    "script",
    "seen_error",
    "seen_limit",
    "start_fault",
    "survived",
    "wasm_answers",
    "wasm_fault",
]

Code = str | bytes | Callable[[], str | bytes]
Script = Callable[[Lab], Awaitable[str]]

# Marks of a stack trace or of the machine's paths.
_INSIDES = re.compile(r"Traceback|File \"|\.py\b|site-packages|wasm backtrace|/usr/|/tmp/|/home/")
SHORT = 250
"""The turn deadline of guests that run into it, in ms: short, so that the self-test is."""


def seen_limit(metadata: Any, limit: str) -> None:
    """An error that a limit causes names the limit, what was used and what is allowed."""
    check(isinstance(metadata, dict), f"the error of the limit {limit} has no metadata: {metadata!r}")
    check(metadata.get("limit") == limit, f"the error names the limit {metadata.get('limit')!r}, not {limit!r}")
    used, allowed = metadata.get("used"), metadata.get("allowed")
    check(isinstance(used, int) and isinstance(allowed, int), f"{limit}: used {used!r}, allowed {allowed!r}")


def seen_error(answer: httpx.Response, *names: str, limit: str | None = None) -> str:
    """The answer is one of these errors, as strangers may see it."""
    error = error_of(answer)
    check(error["name"] in names, f"answered {answer.status_code} {error['name']}: {error.get('message')}")
    status = status_of(error["group"], error["code"])
    check(answer.status_code == status, f"{error['name']} has the status {answer.status_code}, not {status}")
    check(not _INSIDES.search(answer.text), f"the answer shows insides: {answer.text[:200]}")
    if limit is not None:
        seen_limit(error.get("metadata"), limit)
    return str(error["name"])


def _made(code: Code) -> str | bytes:
    return code() if callable(code) else code


def _limits(limit: str | None) -> tuple[str, ...]:
    return () if limit is None else (limit,)


def refused_upload(
    name: str,
    attacks: str,
    code: Code,
    *errors: str,
    limit: str | None = None,
    kind: str | None = None,
    seconds: float = 20.0,
    slow: bool = False,
) -> Case:
    """The module is refused when it is uploaded, with one of these errors; nothing of it is kept."""

    async def run(lab: Lab) -> str:
        made = _made(code)
        body, own = (made.encode("utf-8", "surrogatepass"), JS) if isinstance(made, str) else (made, WASM)
        told = seen_error(await lab.upload(body, kind or own), *errors, limit=limit)
        kept = await lab.http.get("/modules", params={"namespace": lab.tenant})
        check(kept.json() == {"modules": []}, f"a refused module was kept: {kept.text[:200]}")
        return told

    must = f"refused: {' or '.join(errors)}"
    return Case(name, attacks, "upload", must, run, ("errors",), seconds, _limits(limit), slow)


def action_fault(
    name: str,
    attacks: str,
    body: str,
    *errors: str,
    limit: str | None = None,
    limits: Mapping[str, int] | None = None,
    more: str = "",
    top: str = "",
    keeps: bool = True,
) -> Case:
    """The action `go` ends as one of these errors, the turn is undone, and the same actor goes on as it was.

    `keeps`: what the actor had before has to be there again."""
    chosen = {"turn_deadline": SHORT, **(limits or {})}

    async def run(lab: Lab) -> str:
        await lab.deploy(js_guest(body, more=more, top=top), limits=chosen)
        actor = await lab.actor()
        check(await lab.output(actor, "ok") == 1, "the actor was wrong before the attack")
        told = seen_error(await lab.call(actor, "go"), *errors, limit=limit)
        count = await lab.output(actor, "ok")
        check(count == 2 or not keeps, f"the actor did not go on as it was: {count!r}")
        return told

    must = f"{' or '.join(errors)}; the actor goes on"
    return Case(name, attacks, "action", must, run, ("guest_faults", "events_failed", "errors"), limits=_limits(limit))


def survived(
    name: str,
    attacks: str,
    body: str,
    wanted: Callable[[Any], bool] | None = None,
    *,
    must: str = "nothing comes of it",
    limits: Mapping[str, int] | None = None,
    more: str = "",
    top: str = "",
    counter: tuple[str, ...] = (),
) -> Case:
    """The action `go` succeeds, its result satisfies `wanted`, and the actor goes on."""

    async def run(lab: Lab) -> str:
        await lab.deploy(js_guest(body, more=more, top=top), limits=dict(limits or {}))
        actor = await lab.actor()
        result = await lab.output(actor, "go")
        check(wanted is None or wanted(result), f"the result is {json.dumps(result)[:300]}")
        check(await lab.output(actor, "ok") == 1, "the actor did not go on as it was")
        return "as it should be"

    return Case(name, attacks, "action", must, run, counter)


def limit_thrown(
    name: str,
    limit: str,
    call: str,
    error: str = "limit/exceeded",
    *,
    limits: Mapping[str, int] | None = None,
    counter: tuple[str, ...] = (),
) -> Case:
    """The host call in the handler throws the error of the limit, which the handler may catch."""

    async def run(lab: Lab) -> str:
        await lab.deploy(js_guest(f"return await refusal(async () => {{ {call} }});"), limits=dict(limits or {}))
        actor = await lab.actor()
        got = await lab.output(actor, "go")
        check(got["name"] == error, f"the handler saw {got['name']}")
        seen_limit(got["metadata"], limit)
        check(await lab.output(actor, "ok") == 1, "the actor did not go on as it was")
        return f"{error} ({limit})"

    return Case(name, limit, "host call", f"{error} in the handler", run, counter, limits=(limit,))


def start_fault(
    name: str, attacks: str, code: Code, *faults: str, limit: str | None = None, limits: Mapping[str, int] | None = None
) -> Case:
    """The module is admitted, but its actors cannot start: callers are told, and soon, instead of waiting."""
    chosen = {"turn_deadline": SHORT, **(limits or {})}

    async def run(lab: Lab) -> str:
        await lab.deploy(_made(code), limits=chosen)
        actor = await lab.actor()
        answer = await lab.call(actor, "ok")
        seen_error(answer, "actor/start_failed")
        error = error_of(answer)
        told = next((fault for fault in faults if fault in error["message"]), None)
        check(told is not None, f"the start failed otherwise: {error['message']}")
        if limit is not None:
            seen_limit(error.get("metadata"), limit)
        return f"actor/start_failed ({told})"

    must = f"actor/start_failed ({' or '.join(faults)})"
    return Case(name, attacks, "start", must, run, ("start_failures",), limits=_limits(limit))


def wasm_fault(
    name: str,
    attacks: str,
    code: Callable[[], bytes],
    *errors: str,
    limit: str | None = None,
    limits: Mapping[str, int] | None = None,
) -> Case:
    """An event with a `!` makes the Wasm guest fault; the same actor then answers any other."""
    chosen = {"turn_deadline": SHORT, **(limits or {})}

    async def run(lab: Lab) -> str:
        await lab.deploy(code(), limits=chosen)
        actor = await lab.actor()
        told = seen_error(await lab.call(actor, "go", "!"), *errors, limit=limit)
        check(await lab.output(actor, "ok") == "well", "the actor did not go on")
        return told

    must = f"{' or '.join(errors)}; the actor goes on"
    return Case(name, attacks, "wasm action", must, run, ("guest_faults",), limits=_limits(limit))


def wasm_answers(
    name: str,
    attacks: str,
    code: Callable[[], bytes],
    result: Any,
    *,
    must: str = "refused inside, the guest goes on",
    limits: Mapping[str, int] | None = None,
    counter: tuple[str, ...] = (),
) -> Case:
    """An event with a `!` makes the Wasm guest try something; its answer tells what came of it."""

    async def run(lab: Lab) -> str:
        await lab.deploy(code(), limits=dict(limits or {}))
        actor = await lab.actor()
        answer = await lab.output(actor, "go", "!")
        check(answer == result, f"the guest says {answer!r}")
        return str(answer)

    return Case(name, attacks, "wasm action", must, run, counter)


def script(
    name: str,
    attacks: str,
    how: str,
    must: str,
    counter: tuple[str, ...] = (),
    *,
    limits: tuple[str, ...] = (),
    seconds: float = 20.0,
) -> Callable[[Script], Case]:
    """For what needs several steps: the decorated function is the case."""

    def made(run: Script) -> Case:
        return Case(name, attacks, how, must, run, counter, seconds, limits)

    return made
