"""The thing as a Python class: what `thing.js` and `thing.c` are too, so that one suite can ask all the same."""

from __future__ import annotations

from typing import Any

from host import Actor, Alarm, Closed, Conn, Deferred, Message, Request, Response, Socket, UserError, action
from host.model.errors import CallerError

__all__ = ["Thing"]


class Thing(Actor):
    state: Any

    def create_state(self, input: Any) -> Any:
        return {"count": 0, "made": input}

    def on_create(self, input: Any) -> None:
        self.note(f"create {'-' if input is None else input}")

    def on_upgrade(self, from_version: int) -> None:
        self.note(f"upgrade from {from_version}")

    def on_wake(self) -> None:
        self.note("wake")
        if self.now() < int(self.kv.get_text("broken until") or 0):
            raise RuntimeError("a secret of the start")

    def on_sleep(self) -> None:
        self.note("sleep")

    def on_destroy(self) -> None:
        self.note("destroyed")
        self.log.info(self.kv.get_text("notes") or "")

    def note(self, what: str) -> None:
        notes = self.kv.get_text("notes")
        self.kv.put("notes", what if notes is None else f"{notes};{what}")

    # --- actions -------------------------------------------------------------------------------------------------

    @action
    def add(self, by: int) -> int:
        self.state["count"] += by
        count: int = self.state["count"]
        return count

    @action
    def get(self) -> Any:
        return self.state

    @action
    def notes(self) -> str:
        return self.kv.get_text("notes") or ""

    @action
    def refuse(self) -> None:
        self.state["count"] += 1
        raise UserError("not today", code="closed", metadata={"until": 5})

    @action
    def break_down(self) -> None:
        self.state["count"] += 1
        raise RuntimeError("a secret")

    @action
    def break_starts(self, until: int) -> None:
        self.kv.put("broken until", str(until))

    @action
    def put(self, key: str, value: str) -> None:
        self.kv.put(key, value)

    @action
    def look_up(self, key: str) -> str | None:
        return self.kv.get_text(key)

    @action
    def remove(self, key: str) -> None:
        self.kv.delete(key)

    @action
    def remove_range(self, start: str, end: str) -> None:
        self.kv.delete_range(start, end)

    @action
    def entries(self, prefix: str) -> list[list[str]]:
        return [[key.decode(), value.decode()] for key, value in self.kv.list(prefix)]

    @action
    def range(self, start: str, end: str, reverse: bool, limit: int) -> list[str]:
        return [key.decode() for key, _ in self.kv.list(start=start, end=end, reverse=reverse, limit=limit)]

    @action
    def put_big(self, size: int) -> str:
        try:
            self.kv.put("big", bytes(size))
        except CallerError as error:
            return error.name
        return "taken"

    @action
    def alarm(self, id: str, after: int, payload: Any) -> int:
        return self.alarms.set(id, after=after, payload=payload)

    @action
    def cancel(self, id: str) -> bool:
        return self.alarms.cancel(id)

    @action
    def pending(self) -> list[str]:
        return [alarm.id for alarm in self.alarms.list()]

    @action
    def plan(self, ms: int, by: int) -> str:
        return self.schedule.after(ms, "add", by)

    @action
    def call_off(self, id: str) -> bool:
        return self.schedule.cancel(id)

    @action
    def every(self, name: str, ms: int, by: int) -> None:
        self.cron.every(name, ms, "count", by)

    @action
    def daily(self, name: str, expression: str, zone: str, by: int) -> None:
        self.cron.set(name, expression, "count", by, time_zone=zone)

    @action
    def count(self, by: int) -> None:
        why = self.firing
        assert why is not None
        self.note(f"count {by} {why.kind} {why.name} {why.scheduled_at} {why.attempt}")
        if by < 0 and why.attempt < 3:
            raise RuntimeError("not yet")
        self.state["count"] += by

    @action
    def crons(self) -> list[list[Any]]:
        return [[job.name, job.action, list(job.args), job.next_at] for job in self.cron.list()]

    @action
    def runs(self, name: str) -> list[list[Any]]:
        runs = self.cron.history(name)
        return [[run.result, run.scheduled_at, run.number if run.until else run.attempt] for run in runs]

    @action
    def drop(self, name: str) -> bool:
        return self.cron.delete(name)

    @action
    async def wait(self, ms: int, label: str) -> str:
        self.note(f"begin {label}")
        await self.delay(ms)
        self.note(f"end {label}")
        return label

    @action
    async def never(self) -> None:
        await Deferred[None]()

    @action
    def hold(self, ms: int) -> None:
        async def work() -> None:
            await self.delay(ms)
            self.note("held")

        self.keep_awake(work())

    @action
    def doze(self) -> None:
        self.hibernate_now()

    @action
    def end(self) -> str:
        self.destroy_now()
        return "goodbye"

    @action
    def noise(self, length: int) -> str:
        return self.random(length).hex()

    @action
    def time(self) -> int:
        return self.now()

    @action
    def write(self, line: str) -> None:
        self.log.warning(line)

    @action
    def who(self) -> list[Any]:
        return [self.actor_id, self.name, *self.key]

    @action
    def creations(self) -> int:
        return self.generation

    @action
    def say(self, text: str) -> None:
        for socket in self.sockets:
            socket.send(text)

    @action
    def say_to(self, tag: str, text: str) -> None:
        for socket in self.sockets:
            if tag in socket.tags:
                socket.send(text)

    # --- the rest ------------------------------------------------------------------------------------------------

    def on_alarm(self, alarm: Alarm) -> None:
        self.note(f"alarm {alarm.id} {alarm.payload} {alarm.attempt}")
        if alarm.attempt < alarm.payload:
            raise RuntimeError("too early")

    def on_request(self, request: Request) -> Response:
        if request.path == "/fail":
            raise RuntimeError("a secret")
        if request.path == "/refuse":
            raise UserError("not today", code="closed")
        text = f"{request.method} {request.path} {request.body.decode()}"
        return Response(text, 201, (("x-thing", request.header("x-asked") or "-"),))

    guarded_events = ("secret",)

    def on_before_connect(self, params: Any) -> None:
        if params is not None and params["who"] == "stranger":
            raise UserError("not you", code="no_entry")

    def create_conn_state(self, params: Any) -> Any:
        return {"who": "-" if params is None else params["who"]}

    def on_connect(self, conn: Conn) -> None:
        conn.send("hello", conn.state["who"])

    def on_disconnect(self, conn: Conn) -> None:
        self.note(f"gone {conn.state['who']}")

    def on_subscribe(self, conn: Conn, event: str) -> None:
        if conn.state["who"] != "ann":
            raise UserError("not yours", code="forbidden")

    @action
    async def whoami(self, ms: int = 0) -> str:
        if ms:
            await self.delay(ms)
        assert self.conn is not None
        who: str = self.conn.state["who"]
        return who

    @action
    def rename(self, who: str) -> None:
        assert self.conn is not None
        self.conn.state = {"who": who}

    @action
    def announce(self, event: str, what: str) -> None:
        self.broadcast(event, what)

    @action
    def leave(self) -> None:
        assert self.conn is not None
        self.conn.disconnect("bye")

    def on_websocket(self, socket: Socket) -> None:
        if socket.path == "/refuse":
            raise UserError("not you", code="no_entry")
        if not socket.restored:
            socket.send("welcome")

    async def on_message(self, socket: Socket, message: Message) -> None:
        data = message.data
        word, rest = "", ""
        if isinstance(data, str):
            word, _, rest = data.partition(":")
        if word == "index":
            socket.send(str(message.index))
        elif word == "seen":
            socket.state = (socket.state or 0) + 1
            socket.send(str(socket.state))
        elif word == "tag":
            socket.tags = [rest]
        elif word == "restored":
            socket.send("yes" if socket.restored else "no")
        elif word == "params":
            socket.send(socket.params)
        elif word == "wait":
            await self.delay(int(rest))
            socket.send("waited")
        elif word == "throw":
            socket.send("before")
            raise RuntimeError("a secret")
        elif word == "doze":
            self.hibernate_now()
        elif word == "bye":
            socket.send("last")
            socket.close(4_000, "bye")
        else:
            socket.send(data)

    def on_close(self, socket: Socket, closed: Closed) -> None:
        self.note(f"closed {closed.code} {closed.reason} {'clean' if closed.clean else 'lost'}")
