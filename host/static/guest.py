"""One static actor awake: events in, settled events out, exactly as an isolate takes and gives them.

Nothing outside of this package asks whether an actor is one of these. `deliver` never raises for what a handler does:
an exception is the result of its event. What a handler started and did not finish goes on in the turns that complete
its deferred calls; `close` ends it.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from host.bridge.envelopes import (
    ActionEvent,
    AlarmEvent,
    AuthEvent,
    CallError,
    CompletionEvent,
    Event,
    HttpReply,
    Log,
    RequestEvent,
    Settled,
    SocketClosedEvent,
    SocketList,
    SocketMessageEvent,
    SocketOpenedEvent,
    StartEvent,
    StateGet,
    StatePut,
    StopEvent,
    SubscribeEvent,
    Turn,
    TurnReply,
)
from host.bridge.reply import Reply
from host.bridge.session import HostCalls
from host.model.errors import DormiceError
from host.static.actor import AUTHORISED, Actor
from host.static.alarms import SCHEDULED, Alarm
from host.static.conns import Conn, current_conn
from host.static.context import CALLER, CallingActor, Context
from host.static.crons import FIRING, firing_of
from host.static.errors import UserError
from host.static.http import AuthRequest, Request, Response
from host.static.sockets import Closed, Message, Socket
from host.static.spec import ActorSpec
from host.static.tasks import Task, Tasks
from host.static.values import native
from host.wire.values import from_python

__all__ = ["StaticGuest"]

PAGE = 256
RESTORE_ERROR = 4500

Encode = Callable[[Any], bytes | None]


class _NoAction(Exception):
    """There is no action of that name."""


class StaticGuest:
    def __init__(self, spec: ActorSpec, calls: HostCalls) -> None:
        self._spec = spec
        self.calls = calls
        self._actor: Actor | None = None
        self._context: Context | None = None
        self._settled: list[Settled] = []
        self._pending = 0
        self._has_state = False
        self._saved: bytes | None = None
        # What was in work when the state was put back has lost its changes, and must not succeed in a later turn.
        self._put_backs = 0
        self._lost: CallError | None = None

    # --- what the hop calls, on its thread -------------------------------------------------------------------------

    def deliver(self, turn: Turn) -> Reply:
        for event in turn.events:
            self._handle(event)
        if self._context is not None:
            self._context.tasks.run()
            self._context.tell_holds()
        failure = self._save()
        settled, self._settled = self._settled, []
        if failure is not None:
            settled = [Settled(one.event, error=failure) for one in settled]
        return Reply(TurnReply(settled, self._pending), [])

    def close(self) -> None:
        """Ends what is in work: clean-up of handlers runs, what it wants to write goes nowhere."""
        if self._context is not None:
            self._context.tasks.close()
            self._context = None

    # --- one function per type of event ------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        match event:
            case StartEvent():
                self._run(event.id, lambda: self._start(event), lambda _: msgspec.json.encode(self._spec.reply))
            case StopEvent():
                actor = self._awake
                self._run(event.id, actor.on_destroy if event.reason == "destroy" else actor.on_sleep)
            case ActionEvent():
                self._run(event.id, lambda: self._called(event), from_python, event.auth)
            case RequestEvent():
                self._run(event.id, lambda: self._awake.on_request(_request(event)), _http, event.auth)
            case AuthEvent():
                self._run(event.id, lambda: self._awake.auth(_asked(event)), from_python)
            case SocketOpenedEvent():
                self._run(event.id, lambda: self._opened(event), auth=event.auth)
            case SocketMessageEvent():
                self._run(event.id, lambda: self._message(event))
            case SocketClosedEvent():
                self._run(event.id, lambda: self._closed(event))
            case SubscribeEvent():
                self._run(event.id, lambda: self._subscribed(event))
            case AlarmEvent():
                self._run(event.id, lambda: self._alarm(event))
            case CompletionEvent():
                if self._context is not None:
                    self._context.complete(event)

    def _run(
        self,
        event: int,
        handler: Callable[[], Any],
        encode: Encode = lambda _: None,
        auth: Raw | UnsetType = UNSET,
    ) -> None:
        """Calls a handler, now and to its first wait; it settles its event when it ends."""
        self._pending += 1
        begun = self._put_backs

        async def whole() -> Any:
            AUTHORISED.set(_given(auth))
            result = handler()
            return await result if inspect.isawaitable(result) else result

        task = Task(whole())
        task.when_done(lambda: self._end(event, task, encode, begun))
        # A start makes the context whose tasks would run it, so the first step is made here, for every handler.
        task.step(lambda waiting: self._tasks.go_on(waiting))
        if not task.done:
            self._tasks.adopt(task)

    @property
    def _tasks(self) -> Tasks:
        assert self._context is not None, "only a context gives something to wait for"
        return self._context.tasks

    def _end(self, event: int, task: Task[Any], encode: Encode, begun: int) -> None:
        self._pending -= 1
        if begun != self._put_backs and self._lost is not None:
            self._settled.append(Settled(event, error=self._lost))
            return
        try:
            result = encode(task.result())
        except Exception as raised:  # noqa: BLE001 - whatever a handler raises is the error of its event
            self._settled.append(Settled(event, error=self._error_of(raised)))
        else:
            self._settled.append(Settled(event, UNSET if result is None else Raw(result)))

    # --- start ---------------------------------------------------------------------------------------------------

    @property
    def _awake(self) -> Actor:
        assert self._actor is not None, "the start comes before every other event"
        return self._actor

    async def _start(self, event: StartEvent) -> None:
        context = self._context = Context(event, self.calls.perform, self._spec.actions)
        actor = self._actor = self._spec.actor.__new__(self._spec.actor)
        actor._context = context
        input = _given(event.input)
        stored = self.calls.perform(StateGet())
        # A first start that was cut off may have left a state; creation begins anew.
        new = event.reason == "create" or stored is None
        if stored is not None:
            self._saved = bytes(stored)
        found = None if new else native(bytes(stored))
        if not new:
            actor.state = found
        actor.__init__()  # type: ignore[misc]  # after the context, so that it may use it
        # An `__init__` that sets a first state, as is the habit, must not undo what was kept.
        actor.state = await _value(actor.create_state(input)) if new else found
        self._has_state = True
        if event.reason == "create":
            await _value(actor.on_create(input))
        if event.from_version is not UNSET:
            await _value(actor.on_upgrade(event.from_version))
        await _value(actor.on_wake())
        await self._restore(context)

    async def _restore(self, context: Context) -> None:
        after = ""
        while rows := self.calls.perform(SocketList(after=after, limit=PAGE)):
            for row in rows:
                if row.protocol is not UNSET:
                    context.conns[row.conn] = Conn.of(self.calls.perform, row)
                    continue
                socket = context.sockets[row.conn] = Socket(
                    self.calls.perform,
                    id=row.conn,
                    path=row.path,
                    headers=(),
                    params=_given(row.params),
                    state=_given(row.state),
                    tags=row.tags,
                    restored=True,
                    auth=_given(row.auth),
                )
                try:
                    AUTHORISED.set(socket.auth)
                    await _value(self._awake.on_websocket(socket))
                except Exception as raised:  # noqa: BLE001 - that socket alone is closed, the others go on
                    self._log(f"on_websocket failed for the restored connection {row.conn}", raised)
                    socket.close(RESTORE_ERROR, "ws.restore_error")
            after = rows[-1].conn

    # --- the rest ------------------------------------------------------------------------------------------------

    def _called(self, event: ActionEvent) -> Any:
        assert self._context is not None
        if event.conn is not UNSET:
            conn = self._context.conns.get(event.conn)
            current_conn.set(conn)
            AUTHORISED.set(None if conn is None else conn.auth)
        if event.caller is not UNSET and event.caller_name is not UNSET:
            CALLER.set(CallingActor(event.caller, event.caller_name))
        return self._action(event.name, native(bytes(event.args)))

    def _action(self, name: str, args: Any) -> Any:
        if name not in self._spec.actions:
            raise _NoAction(f"this actor has no action {name!r}")
        return getattr(self._awake, name)(*args)

    async def _connected(self, context: Context, event: SocketOpenedEvent) -> None:
        conn = Conn.of(self.calls.perform, event)
        await _value(self._awake.on_before_connect(conn.params))
        state = await _value(self._awake.create_conn_state(conn.params))
        if state is not None:
            conn.state = state
        context.conns[conn.id] = conn
        try:
            await _value(self._awake.on_connect(conn))
        except BaseException:
            context.conns.pop(conn.id, None)
            raise

    def _subscribed(self, event: SubscribeEvent) -> Any:
        assert self._context is not None
        conn = self._context.conns[event.conn]
        AUTHORISED.set(conn.auth)
        return self._awake.on_subscribe(conn, event.event)

    async def _opened(self, event: SocketOpenedEvent) -> None:
        assert self._context is not None
        if event.protocol is not UNSET:
            await self._connected(self._context, event)
            return
        socket = self._context.sockets[event.conn] = Socket(
            self.calls.perform,
            id=event.conn,
            path=event.path,
            headers=event.headers,
            params=_given(event.params),
            state=None,
            tags=(),
            restored=False,
            auth=_given(event.auth),
        )
        try:
            await _value(self._awake.on_websocket(socket))
        except BaseException:
            self._context.sockets.pop(event.conn, None)
            raise

    def _message(self, event: SocketMessageEvent) -> Any:
        assert self._context is not None
        data = event.text if event.text is not UNSET else event.data
        assert isinstance(data, str | bytes), "the tunnel carries one of the two, and placeholders are for guests"
        message = Message(data, int(event.index), event.attempt)
        socket = self._context.sockets[event.conn]
        AUTHORISED.set(socket.auth)
        return self._awake.on_message(socket, message)

    def _closed(self, event: SocketClosedEvent) -> Any:
        assert self._context is not None
        conn = self._context.conns.pop(event.conn, None)
        if conn is not None:
            conn.open = False
            AUTHORISED.set(conn.auth)
            return self._awake.on_disconnect(conn)
        socket = self._context.sockets.pop(event.conn, None)
        if socket is None:
            return None
        socket.open = False
        AUTHORISED.set(socket.auth)
        return self._awake.on_close(socket, Closed(event.code, event.reason, event.clean))

    def _alarm(self, event: AlarmEvent) -> Any:
        payload = native(bytes(event.payload))
        if event.cron is not UNSET or event.alarm.startswith(SCHEDULED):
            FIRING.set(firing_of(event))
            return self._action(payload["action"], payload["args"])
        if not self._spec.alarm:
            raise LookupError("this actor has no on_alarm")
        return self._awake.on_alarm(Alarm(event.alarm, payload, event.scheduled_at, event.attempt))

    # --- the end of a turn ---------------------------------------------------------------------------------------

    def _save(self) -> CallError | None:
        """The state goes into the turn if it changed; what settles in a turn whose state cannot be saved has failed,
        and so has what is in work: the state is what was saved last again."""
        if not self._has_state:
            return None
        try:
            value = from_python(self._awake.state)
            if value != self._saved:
                self.calls.perform(StatePut(Raw(value)))
                self._saved = value
        except DormiceError as error:
            self._log("the state cannot be saved", error)
            failure = self._error_of(error)
            if self._saved is not None:
                self._awake.state = native(self._saved)
                self._put_backs += 1
                self._lost = failure
            return failure
        return None

    def _error_of(self, raised: Exception) -> CallError:
        if isinstance(raised, UserError):
            try:
                metadata = UNSET if raised.metadata is None else Raw(from_python(raised.metadata))
                return CallError("user", raised.code, raised.message, metadata)
            except DormiceError as error:
                raised = error
        if isinstance(raised, _NoAction):
            return CallError("actor", "action_not_found", str(raised))
        stack = "".join(traceback.format_exception(raised))[-8_000:]
        return CallError("internal", "internal_error", repr(raised)[:1_000], Raw(from_python({"stack": stack})))

    def _log(self, what: str, raised: Exception) -> None:
        self.calls.perform(Log("error", f"{what}: {raised!r}"))


async def _value(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _request(event: RequestEvent) -> Request:
    assert isinstance(event.body, bytes)
    return Request(event.method, event.path, tuple(event.headers), event.body)


def _asked(event: AuthEvent) -> AuthRequest:
    return AuthRequest(
        event.kind,
        event.role,
        tuple(event.headers),
        event.name or None,
        event.method or None,
        event.path or None,
        _given(event.params),
        _given(event.claims),
    )


def _given(value: Raw | UnsetType) -> Any:
    return None if value is UNSET else native(bytes(value))


def _http(result: Any) -> bytes:
    if isinstance(result, bytes | str):
        result = Response(result)
    if not isinstance(result, Response):
        raise TypeError(f"on_request returns a Response, bytes or text, not a {type(result).__name__}")
    body = result.body.encode() if isinstance(result.body, str) else bytes(result.body)
    return msgspec.json.encode(HttpReply(result.status, list(result.headers), body))
