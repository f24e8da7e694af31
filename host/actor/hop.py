"""A hop: turns of one actor in a row on an executor thread, at most 64 of them or 50 ms. The unit of commit.

While it runs, everything here belongs to the thread: the guest, the hydrated state, the schedule of the mailbox, the
ledger. It touches no storage (but the reader port), no socket and no event loop; it goes in as plain data and comes out
as a `HopResult`. Each turn takes at most one new event, or the completion of one deferred call, so that a fault can be
charged to one event (D5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import UNSET, Raw, UnsetType

from host.actor.deferrals import Deferrals, completion_event
from host.actor.entries import Entry, Kind
from host.actor.failures import error_of, failed, too_long
from host.actor.fired_alarms import FiredAlarms
from host.actor.guest import Guest
from host.actor.ledger import Ledger
from host.actor.mailbox import Mailbox
from host.actor.speech import Speech
from host.actor.turns import HopResult, Settlement, TurnRecord
from host.bridge.envelopes import (
    ActionEvent,
    AlarmEvent,
    AuthEvent,
    Event,
    RequestEvent,
    Settled,
    SocketClosedEvent,
    SocketMessageEvent,
    SocketOpenedEvent,
    StartEvent,
    StopEvent,
    Turn,
)
from host.bridge.reply import Reply, bad_reply
from host.model.clock import Clock
from host.model.effects import TurnEffects
from host.model.errors import DormiceError, GuestFault
from host.model.failpoints import FailPoint
from host.model.limits import Limits
from host.model.records import AlarmRow, ConnectionRow
from host.model.tunnel import (
    ActionCall,
    ActionReply,
    AuthCall,
    AuthReply,
    HttpCall,
    HttpReply,
    Opened,
    SocketClosed,
    SocketMessage,
)

__all__ = ["HopRunner"]

JSON_SAFE = 2**53


class HopRunner:
    """Runs the hops of one instance. `unsettled` maps the event id of each delivered event that has not settled to its
    entry; `ignored` holds ids that the host settled itself, whose settling by the guest counts for nothing, once."""

    def __init__(
        self,
        *,
        guest: Guest,
        ledger: Ledger,
        mailbox: Mailbox,
        clock: Clock,
        limits: Limits,
        jitter: Callable[[], float],
    ) -> None:
        self._guest = guest
        self._calls = guest.calls
        self._failpoints = guest.calls.failpoints
        self._state = guest.calls.state
        self._ledger = ledger
        self.alarms = FiredAlarms(guest.calls.state, ledger, clock, limits, jitter)
        self._mailbox = mailbox
        self._clock = clock
        self._limits = limits
        self.speech = Speech(ledger, self._state, limits)
        self.unsettled: dict[int, Entry] = {}
        self.ignored: set[int] = set()
        self.deferrals = Deferrals(guest.calls)
        # Events of the host's own (start, stop): they pass a closed gate.
        self.urgent: deque[tuple[Entry, StartEvent | StopEvent]] = deque()
        self.gate_open = False
        self.hibernatable = True
        self.dropped_alarms: list[AlarmRow] = []
        self.turns = 0
        self._event_id = 0
        self._last_now = 0

    def next_event_id(self) -> int:
        self._event_id += 1
        return self._event_id

    @property
    def has_work(self) -> bool:
        waits = self.deferrals.waiting or self.urgent
        return bool(waits or (self._lets_in() and self._mailbox.may_start))

    def _lets_in(self) -> bool:
        """D4: the input gate. Until the start has settled, with every socket set up again, and once a stop has begun,
        only completions and the host's own events pass."""
        return self.gate_open

    # --- on the executor thread ----------------------------------------------------------------------------------

    def run(self, result: HopResult) -> None:
        """Fills `result` as it goes, so that its holder knows what was started even if this raises."""
        began = self._clock.monotonic()
        until = began + self._limits.hop_time / 1_000
        self._calls.begin_hop()
        size = 0
        for _ in range(self._limits.hop_turns):
            if not self._one_turn(result) or self._clock.monotonic() >= until:
                break
            # The writes of a hop wait in memory for its commit: no more of them than one turn may make.
            size += result.turns[-1].size
            # After a turn that asked for the end nothing new begins.
            if size >= self._limits.effects or result.turns[-1].effects.destroy:
                break
        for entry in result.started:
            if entry.call is not None and entry.event_id in self.unsettled and entry is not result.faulted:
                self._ledger.put_begun(entry)
        result.busy_ms = (self._clock.monotonic() - began) * 1_000

    def _one_turn(self, result: HopResult) -> bool:
        """False when nothing is left to do, or after a fault."""
        entry: Entry | None
        now = max(self._clock.now_ms(), self._last_now)
        event: Event
        done = self.deferrals.take(result)
        if done is not None:
            entry = done.owner
            event = completion_event(self.next_event_id(), done)
        else:
            if self.urgent:
                entry, event = self.urgent.popleft()
                entry.event_id = event.id
            else:
                found = self._next_startable() if self._lets_in() else None
                if found is None:
                    return False
                entry = found
                entry.event_id = self.next_event_id()
                settled_here = self.speech.settled_here(entry)
                if settled_here is not None:
                    result.started.append(entry)
                    self.turns += 1
                    result.turns.append(TurnRecord(entry, TurnEffects(), (self.settle(settled_here),)))
                    return True
                if isinstance(entry.payload, AlarmRow):
                    # A timer or alarm never sees a time before its own.
                    now = max(now, entry.payload.scheduled_at)
                event = self._event_of(entry)
            entry.began = max(now, self._clock.now_ms())
            self.unsettled[entry.event_id] = entry
            result.started.append(entry)
        self._last_now = now
        self.turns += 1
        self._calls.begin_turn(now, of_alarm=entry is not None and entry.kind is Kind.ALARM)
        try:
            if self._failpoints.on:
                self._failpoints.hit(FailPoint.BEFORE_TURN)
            reply = self._guest.deliver(Turn(self.turns, now, [event]))
            settled = self._settlements(reply)
            effects = self._calls.end_turn()
        except GuestFault as fault:
            result.fault = fault
            result.faulted = entry
            result.last_words = self._calls.last_words()
            return False
        except DormiceError as error:
            # Not the guest's doing, but its isolate is in an unknown state all the same.
            result.fault = GuestFault("trap", "the actor's isolate had to be given up", detail=str(error))
            result.faulted = entry
            return False
        self.deferrals.begin(entry, effects)
        # The turn ended well: what it did goes into the ledger, in this order.
        if isinstance(event, SocketOpenedEvent) and entry is not None and isinstance(entry.payload, Opened):
            self._store_connection(entry.payload)
        effects = self._ledger.apply(self.speech.keep_early(effects))
        settled = tuple(self.settle(settlement) for settlement in settled)
        result.turns.append(TurnRecord(entry, effects, settled))
        return True

    def settle(self, settlement: Settlement) -> Settlement:
        """Takes a settled event out of work; its line goes on. Called between hops too, for what the host settles.
        Returns it with what the client of a /connect connection is to be told."""
        settlement = self.speech.settle(settlement)
        entry = settlement.entry
        self.unsettled.pop(entry.event_id, None)
        ended = entry.kind is Kind.CLOSED or (entry.kind is Kind.OPENED and settlement.error is not None)
        if isinstance(entry.payload, SocketMessage):
            self._ledger.settle_message(entry.payload.conn_id, entry.payload.index)
        elif ended:
            assert entry.line is not None
            self._ledger.remove_connection(entry.line)
            self._state.remove_connection(entry.line)
        elif isinstance(entry.payload, AlarmRow):
            self.alarms.settle(entry, entry.payload, settlement)
        if entry.line is not None:
            if entry.attempt > 1 or entry.call is not None:
                self._ledger.clear_attempt(entry.name)
            # The line of a connection that has ended stays busy: nothing of it starts before it is taken away.
            if not ended:
                self._mailbox.settled(entry.line, entry.serial)
        return settlement

    def _next_startable(self) -> Entry | None:
        """The next entry whose time has come; an alarm that was cancelled or set anew while it waited is passed
        over."""
        while (entry := self._mailbox.next()) is not None:
            if not isinstance(entry.payload, AlarmRow):
                if entry.serial or (
                    self._ledger.has_room(entry, self._limits.settled_ahead) and self.speech.may_begin(entry)
                ):
                    return entry
                self._mailbox.hold_back(entry)
                continue
            row = self.alarms.standing(entry.payload)
            if row is not None:
                # A cron may have been given another action while it waited.
                entry.payload = row
                return entry
            self.dropped_alarms.append(entry.payload)
        return None

    # --- events out ----------------------------------------------------------------------------------------------

    def _event_of(self, entry: Entry) -> Event:
        payload, event_id = entry.payload, entry.event_id
        if isinstance(payload, SocketMessage):
            index = payload.index if payload.index < JSON_SAFE else str(payload.index)
            if isinstance(payload.data, str):
                return SocketMessageEvent(event_id, payload.conn_id, index, text=payload.data, attempt=entry.attempt)
            if isinstance(payload.data, bytes):
                return SocketMessageEvent(event_id, payload.conn_id, index, data=payload.data, attempt=entry.attempt)
            return self.speech.event_of(entry, payload)
        if isinstance(payload, ActionCall):
            return ActionEvent(
                event_id,
                payload.name,
                Raw(payload.args),
                params=UNSET if payload.params is None else Raw(payload.params),
                caller=payload.caller or UNSET,
                caller_name=payload.caller_name or UNSET,
                auth=_raw(payload.auth),
            )
        if isinstance(payload, HttpCall):
            headers = list(payload.headers)
            return RequestEvent(
                event_id,
                payload.method,
                payload.path,
                headers,
                payload.body,
                params=_raw(payload.params),
                auth=_raw(payload.auth),
            )
        if isinstance(payload, AuthCall):
            visitor = payload.visitor
            return AuthEvent(
                event_id,
                payload.kind,
                visitor.role,
                list(visitor.headers),
                name=payload.name or UNSET,
                method=payload.method or UNSET,
                path=payload.path or UNSET,
                params=_raw(visitor.params),
                claims=_raw(visitor.claims),
            )
        if isinstance(payload, AlarmRow):
            return AlarmEvent(
                event_id,
                payload.alarm_id,
                payload.scheduled_at,
                Raw(payload.payload),
                attempt=entry.attempt,
                cron=UNSET if payload.repeat is None else payload.repeat.name,
                kind=UNSET if payload.repeat is None else payload.repeat.kind,
            )
        if isinstance(payload, SocketClosed):
            return SocketClosedEvent(
                event_id, payload.conn_id, payload.code, payload.reason, payload.clean, attempt=entry.attempt
            )
        assert isinstance(payload, Opened)
        if payload.conn_id not in self._state.connections:
            self._state.add_connection(self._row_of(payload))
        self.speech.opens(payload)
        return SocketOpenedEvent(
            event_id,
            payload.conn_id,
            payload.path,
            list(payload.headers),
            hibernatable=True,
            params=_raw(payload.params),
            auth=_raw(payload.auth),
            attempt=entry.attempt,
            protocol="connect" if payload.protocol else UNSET,
        )

    def _row_of(self, opened: Opened) -> ConnectionRow:
        return ConnectionRow(
            conn_id=opened.conn_id,
            gateway_id=opened.gateway_id,
            request_id=opened.request_id,
            generation=self._ledger.record.generation,
            msg_index=0,
            path=opened.path,
            opened_at=opened.at,
            last_seen_at=opened.at,
            headers=opened.headers,
            params=opened.params,
            # What an actor says of hibernation is about the raw sockets that it holds itself.
            hibernatable=self.hibernatable or bool(opened.protocol),
            session=opened.session,
            protocol=opened.protocol,
            auth=opened.auth,
        )

    def _store_connection(self, opened: Opened) -> None:
        """The row of a connection is written in the commit of the first turn of its open."""
        if opened.conn_id not in self._ledger.rows:
            self._ledger.open_connection(self._row_of(opened))

    # --- settlements in ------------------------------------------------------------------------------------------

    def _settlements(self, reply: Reply) -> tuple[Settlement, ...]:
        if not reply.settled:
            reply.finish()
            return ()
        found: list[Settlement] = []
        seen: set[int] = set()
        for settled in reply.settled:
            if settled.event in seen:
                raise bad_reply(f"event {settled.event} settled twice in one reply")
            seen.add(settled.event)
            entry = self.unsettled.get(settled.event)
            if entry is None:
                if settled.event in self.ignored:
                    self.ignored.remove(settled.event)
                    continue
                raise bad_reply(f"event {settled.event} is not pending")
            found.append(self._settlement(entry, settled, reply))
        reply.finish()
        return tuple(found)

    def _settlement(self, entry: Entry, settled: Settled, reply: Reply) -> Settlement:
        raised = reply.error(settled)
        if raised is not None:
            return failed(entry, *error_of(raised, self._limits, entry))
        if entry.kind is Kind.ACTION or entry.call is not None:
            # its size first: looking into it takes time in which nobody else runs
            if reply.size(settled) > self._limits.action:
                return failed(entry, too_long("action", reply.size(settled), self._limits.action))
            return Settlement(entry, None, ActionReply(output=reply.value(settled)))
        if entry.kind is Kind.REQUEST:
            status, headers, body = reply.http(settled)
            if len(body) > self._limits.body:
                return failed(entry, too_long("body", len(body), self._limits.body))
            if len(headers) > self._limits.headers:
                return failed(entry, too_long("headers", len(headers), self._limits.headers))
            size = sum(len(name) + len(value) for name, value in headers)
            if size > self._limits.header_bytes:
                return failed(entry, too_long("header_bytes", size, self._limits.header_bytes))
            return Settlement(entry, None, HttpReply(status, tuple(headers), body))
        if entry.kind is Kind.AUTH:
            if reply.size(settled) > self._limits.auth_data:
                return failed(entry, too_long("auth_data", reply.size(settled), self._limits.auth_data))
            return Settlement(entry, None, AuthReply(reply.value(settled)))
        if entry.kind is Kind.START:
            return Settlement(entry, start=reply.start(settled))
        return Settlement(entry)


def _raw(value: bytes | None) -> Raw | UnsetType:
    return UNSET if value is None else Raw(value)
