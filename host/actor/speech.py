"""The host's half of the /connect protocol (D4): what it settles itself of what a client sends, and what it says.

Subscriptions are applied here, in the order of their indexes, and so are refusals that need no guest. A guest sees
`action` and `subscribe` events, never a frame. Frames out are made here, on the hop's thread, once each: the first of a
connection is `Init`, when its open has settled; what the guest sends to it before comes right behind that.
"""

from __future__ import annotations

from msgspec import Raw
from msgspec.structs import replace

from host.actor.entries import Entry
from host.actor.failures import ABORTED, failed
from host.actor.ledger import Ledger
from host.actor.turns import Settlement
from host.bridge.envelopes import ActionEvent, StartReply, SubscribeEvent
from host.capabilities.events import check_event_name
from host.capabilities.state import ActorState
from host.model.effects import Output, SendFrame, TurnEffects
from host.model.errors import CallerError, ErrorInfo, limit_error
from host.model.limits import Limits
from host.model.tunnel import ActionReply, ActionRequest, Opened, SocketMessage, Subscription
from host.wire.frames.encoding import Encoding
from host.wire.frames.errors import ActorSpecifier
from host.wire.frames.to_client import encode_action_response, encode_error, encode_init
from host.wire.keys import encode_key

__all__ = ["SLOW", "Speech"]

SHOWN = 64
SLOW = "ws.slow_reader"
NO_CONNECTIONS = ErrorInfo(
    "actor", "method_not_allowed", "this actor takes no /connect connections; use action/, request/ and websocket/"
)


class _Early:
    """What is sent to a connection whose open has not settled: no more than waits for a client that does not read. One
    frame may be larger. `full` says that there was more, and nothing of it is kept."""

    __slots__ = ("full", "outputs", "size")

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.size = 0
        self.full = False

    def add(self, output: Output, allowed: int) -> bool:
        """False if this is what makes it too much."""
        if self.full:
            return True
        size = len(output.data) if isinstance(output, SendFrame) else 0
        if self.outputs and self.size + size > allowed:
            self.full = True
            self.outputs.clear()
            return False
        self.outputs.append(output)
        self.size += size
        return True


class Speech:
    """Of one start. `heard` is called when it has settled: from then on it is known what the guest takes."""

    def __init__(self, ledger: Ledger, state: ActorState, limits: Limits) -> None:
        self._ledger = ledger
        self._state = state
        self._limits = limits
        self._takes = False
        self._actions: frozenset[str] | None = None
        self._guarded: frozenset[str] = frozenset()
        # Subscriptions that the guest is asked about: others of the same connection and event wait for them.
        self._asked: set[tuple[str, str]] = set()
        self._early: dict[str, _Early] = {}
        # Connections that were sent too much before their open settled: to be closed after the commit.
        self.overrun: list[str] = []
        record = ledger.record
        self._actor = ActorSpecifier(record.actor_id, record.generation, encode_key(record.key))

    def heard(self, reply: StartReply) -> None:
        self._takes = reply.connect
        self._actions = None if reply.actions is None else frozenset(reply.actions)
        self._guarded = frozenset(reply.guarded_events)

    # --- in ------------------------------------------------------------------------------------------------------

    def may_begin(self, entry: Entry) -> bool:
        """D4: of two wishes for one event the second waits until the guest has answered the first."""
        if not self._asked:
            return True
        payload = entry.payload
        if type(payload) is not SocketMessage or type(payload.data) is not Subscription:
            return True
        return (payload.conn_id, payload.data.event) not in self._asked

    def settled_here(self, entry: Entry) -> Settlement | None:
        """What needs no guest. None for what is the guest's to settle."""
        payload = entry.payload
        if type(payload) is SocketMessage:
            if type(payload.data) is ActionRequest:
                error = self._refused(entry, payload.data)
                return None if error is None else failed(entry, error)
            if type(payload.data) is Subscription:
                return self._wish(entry, payload.conn_id, payload.data)
        elif type(payload) is Opened and payload.protocol and not self._takes:
            return failed(entry, NO_CONNECTIONS)
        return None

    def _refused(self, entry: Entry, call: ActionRequest) -> ErrorInfo | None:
        if entry.attempt > 1:
            return ABORTED  # D6: it had turns on disk when its isolate, or the host, went
        if len(call.args) > self._limits.action:
            name = "message/incoming_too_long"
            return limit_error("action", len(call.args), self._limits.action, "send less at a time", name=name).info
        if self._actions is not None and call.name not in self._actions:
            return ErrorInfo("actor", "action_not_found", f"this actor has no action {call.name[:SHOWN]!r}")
        return None

    def _wish(self, entry: Entry, conn: str, wish: Subscription) -> Settlement | None:
        row = self._ledger.rows.get(conn)
        if row is None or not wish.on or wish.event in row.subscriptions:
            return Settlement(entry)
        try:
            check_event_name(self._limits, wish.event)
            if len(row.subscriptions) >= self._limits.subscriptions:
                used = len(row.subscriptions) + 1
                raise limit_error("subscriptions", used, self._limits.subscriptions, "unsubscribe from others first")
        except CallerError as error:
            return failed(entry, error.info)
        if wish.event not in self._guarded:
            return Settlement(entry)
        self._asked.add((conn, wish.event))
        return None

    def event_of(self, entry: Entry, message: SocketMessage) -> ActionEvent | SubscribeEvent:
        data = message.data
        if type(data) is ActionRequest:
            return ActionEvent(entry.event_id, data.name, Raw(data.args), message.conn_id)
        assert type(data) is Subscription
        return SubscribeEvent(entry.event_id, message.conn_id, data.event)

    # --- out -----------------------------------------------------------------------------------------------------

    def opens(self, opened: Opened) -> None:
        """Its open is delivered: until it has settled, nothing goes out on it."""
        if opened.protocol:
            self._early[opened.conn_id] = _Early()

    def keep_early(self, effects: TurnEffects) -> TurnEffects:
        """D4: the effects of a turn without what is sent to connections whose open has not settled."""
        if not self._early or not any(output.conn in self._early for output in effects.outputs):
            return effects
        now: list[Output] = []
        for output in effects.outputs:
            early = self._early.get(output.conn)
            if early is None:
                now.append(output)
            elif not early.add(output, self._limits.outgoing_queue):
                self.overrun.append(output.conn)
        return replace(effects, outputs=tuple(now))

    def settle(self, settlement: Settlement) -> Settlement:
        """Enters what the settling of an event means here, with what its client is told."""
        payload = settlement.entry.payload
        if type(payload) is SocketMessage:
            data = payload.data
            if type(data) is ActionRequest or type(data) is Subscription:
                row = self._ledger.rows.get(payload.conn_id)
                if row is None or not row.protocol:
                    return settlement  # it has ended meanwhile
                if type(data) is ActionRequest:
                    return self._tell(settlement, row.conn_id, self._answer(settlement, row.protocol, data.id))
                assert type(data) is Subscription
                return self._apply(settlement, row.conn_id, row.protocol, data)
        elif type(payload) is Opened and payload.protocol:
            return self._greet(settlement, payload.conn_id, payload.protocol, is_session=payload.session is not None)
        return settlement

    def _tell(self, settlement: Settlement, conn: str, frame: str | bytes) -> Settlement:
        return replace(settlement, frames=(self._ledger.send(SendFrame(conn, frame)),))

    def _answer(self, settlement: Settlement, encoding: Encoding, number: int) -> str | bytes:
        if settlement.error is not None:
            return encode_error(encoding, settlement.error, action_id=number, actor=self._actor)
        assert isinstance(settlement.reply, ActionReply)
        return encode_action_response(encoding, number, settlement.reply.output)

    def _apply(self, settlement: Settlement, conn: str, encoding: Encoding, wish: Subscription) -> Settlement:
        self._asked.discard((conn, wish.event))
        if settlement.error is not None:
            return self._tell(settlement, conn, encode_error(encoding, settlement.error, actor=self._actor))
        self._ledger.subscribe(conn, wish.event, wish.on)
        self._state.subscribe(conn, wish.event, wish.on)
        return settlement

    def _greet(self, settlement: Settlement, conn: str, encoding: Encoding, *, is_session: bool) -> Settlement:
        early = self._early.pop(conn, None) or _Early()
        if settlement.error is not None:
            # Its row goes: this frame is the first and the last, and that of a session is kept nowhere either.
            frame = encode_error(encoding, settlement.error, actor=self._actor)
            return replace(settlement, frames=(SendFrame(conn, frame, int(is_session)),))
        if early.full:
            return settlement  # it is being closed
        init = SendFrame(conn, encode_init(encoding, self._actor.actor_id, conn))
        said: list[Output] = [init, *early.outputs]
        frames = tuple(self._ledger.send(one) if isinstance(one, SendFrame) else one for one in said)
        return replace(settlement, frames=frames)
