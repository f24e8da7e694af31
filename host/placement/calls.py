"""Calls of actors, carried out: each in a task of its own, which whoever made the call can cut off.

A call to another actor finds its target within the caller's own tenant (D9), wakes it like any other action, and ends
with the action's answer, or with an error that says why there is none. Event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from host.actor.services import Services
from host.actor.standing import not_found
from host.model.calls import Caller, CallOutcome, DeferredCall, FetchCall, PeerCall
from host.model.errors import CallerError, DormiceError, ErrorInfo, InternalError, UnavailableError, limit_error
from host.model.ids import new_id
from host.model.ports import Done, Hold
from host.model.records import ActorRecord
from host.model.tunnel import ActionCall, ActionReply
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["Calls", "Targets"]

log = get_logger("calls")

# A target that was destroyed between being found and being called is looked for again so often.
TRIES = 3


class Targets(Protocol):
    """What of placement it takes to call an actor."""

    async def get_or_create(
        self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None
    ) -> tuple[ActorRecord, bool]: ...

    async def create(self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None) -> ActorRecord: ...

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None: ...

    async def record(self, actor_id: str) -> ActorRecord: ...

    async def action(self, call: ActionCall) -> ActionReply: ...

    def lifecycle_of(self, actor_id: str) -> str: ...


class Calls:
    """Implements `CallPort`; `tasks` owns the task of every call."""

    def __init__(self, targets: Targets, tasks: TaskGroup, services: Services) -> None:
        self._targets = targets
        self._tasks = tasks
        self._egress = services.egress
        self._clock = services.clock
        self._metrics = services.metrics
        self._random = services.random

    def start_call(self, caller: Caller, call: DeferredCall, done: Done, hold: Hold) -> Callable[[], None]:
        scope = anyio.CancelScope()
        self._tasks.start_soon(self._whole, scope, caller, call, done, hold, name=f"call of {caller.actor_id}")
        return scope.cancel

    async def _whole(
        self, scope: anyio.CancelScope, caller: Caller, call: DeferredCall, done: Done, hold: Hold
    ) -> None:
        if scope.cancel_called:
            return
        with scope:
            try:
                if isinstance(call, FetchCall):
                    outcome = await self._egress.fetch(caller, call, hold)
                else:
                    outcome = await self._call_actor(caller, call)
            except Exception:
                # The host's own error costs this call, and the log has it whole.
                log.exception("call failed", actor_id=caller.actor_id, tenant=caller.tenant)
                outcome = CallOutcome(error=InternalError("a call of an actor failed").info)
            if not scope.cancel_called:
                done(outcome)

    # --- to another actor ----------------------------------------------------------------------------------------

    async def _call_actor(self, caller: Caller, call: PeerCall) -> CallOutcome:
        timeout = caller.limits.call_timeout if call.timeout is None else call.timeout
        try:
            with self._clock.fail_after(timeout / 1_000):
                outcome = await self._call_peer(caller, call)
        except TimeoutError:
            late = _late(timeout)
            note_limit(self._metrics, late)
            outcome = CallOutcome(error=late)
        except DormiceError as error:
            note_limit(self._metrics, error)
            outcome = CallOutcome(error=error.info)
        self._metrics.count("actor_calls", _reason(outcome.error))
        if outcome.error is not None and outcome.error.group != "user":
            log.info(
                "actor call failed",
                actor_id=caller.actor_id,
                tenant=caller.tenant,
                target=call.name or call.actor,
                action=call.action,
                error=outcome.error.name,
                depth=caller.depth,
            )
        return outcome

    async def _call_peer(self, caller: Caller, call: PeerCall) -> CallOutcome:
        allowed = caller.limits.call_depth
        if caller.depth > allowed:
            advice = "calls that lead to one another have to end"
            raise limit_error("call_depth", caller.depth, allowed, advice, name="actor/call_too_deep")
        for tries in range(1, TRIES + 1):
            try:
                record, created = await self._target(caller, call)
                if call.action is None:
                    return _resolved(record, created)
                self._refuse_knot(caller, record.actor_id)
                reply = await self._targets.action(
                    ActionCall(
                        record.actor_id,
                        call.action,
                        call.args,
                        new_id(self._random),
                        depth=caller.depth,
                        caller=caller.actor_id,
                        caller_name=caller.name,
                        chain=caller.chain,
                    )
                )
            except CallerError as error:
                if error.name != "actor/not_found" or tries == TRIES or not _may_be_found_again(call):
                    raise
                continue
            gone = reply.error is not None and reply.error.name == "actor/not_found"
            if not gone or tries == TRIES or not _may_be_found_again(call):
                return CallOutcome(reply.output, reply.error)
        raise AssertionError("the last try returns or raises")

    def _refuse_knot(self, caller: Caller, target: str) -> None:
        """An actor that starts or stops hears nothing new before it is done; if that waits for this very call, neither
        would come to an end but by their deadlines."""
        state = self._targets.lifecycle_of(target)
        if target in caller.chain and state in ("starting", "stopping"):
            raise UnavailableError("actor", state, f"the actor is {state}, and waits for this very call")

    async def _target(self, caller: Caller, call: PeerCall) -> tuple[ActorRecord, bool]:
        """D9: nothing of another tenant is found."""
        if call.actor is not None:
            record = await self._targets.record(call.actor)
            if not _is_own(caller, record):
                raise not_found(call.actor)
            return record, False
        if call.method == "create":
            return await self._targets.create(caller.tenant, call.name, call.key, call.input), True
        if call.method == "getOrCreate":
            return await self._targets.get_or_create(caller.tenant, call.name, call.key, call.input)
        found = await self._targets.find(caller.tenant, call.name, call.key)
        if found is None:
            raise CallerError("actor", "not_found", f"there is no actor {call.name!r} of this key")
        return found, False


def _is_own(caller: Caller, target: ActorRecord) -> bool:
    """D9: an id that a guest names may be anybody's."""
    return target.tenant == caller.tenant


def _may_be_found_again(call: PeerCall) -> bool:
    """Its key leads to the next actor. That one was not found says that the action was not begun."""
    return call.actor is None and call.method == "getOrCreate"


def _resolved(record: ActorRecord, created: bool) -> CallOutcome:
    found = {"actor": record.actor_id, "name": record.name, "key": list(record.key), "created": created}
    return CallOutcome(msgspec.json.encode(found))


def _late(timeout: int) -> ErrorInfo:
    metadata = b'{"limit":"call_timeout","used":%d,"allowed":%d}' % (timeout, timeout)
    return ErrorInfo(
        "actor",
        "call_timed_out",
        f"there was no answer within {timeout} ms; it may come to be carried out",
        metadata=metadata,
    )


def _reason(error: ErrorInfo | None) -> str:
    """A code of a guest's choice is no name for a counter."""
    return "ok" if error is None else "user" if error.group == "user" else error.name
