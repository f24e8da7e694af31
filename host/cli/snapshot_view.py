"""A snapshot for people: tables of what the host knows of an actor."""

from __future__ import annotations

from msgspec import Raw
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from host.cli.actors import moment
from host.model.snapshot import ActorSnapshot, CronRunSnapshot
from host.wire.keys import encode_key

__all__ = ["show_snapshot"]

# Values of guests are cut: a snapshot is for reading.
MAX_VALUE = 60
MAX_RUNS = 3


def show_snapshot(console: Console, snapshot: ActorSnapshot) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(snapshot):
        facts.add_row(name, Text(value))
    console.print(Panel(facts, title=Text(f"{snapshot.name} {encode_key(snapshot.key)}"), title_align="left"))
    if snapshot.connections:
        table = _table("connection", "path", "msg index", "ahead", "hibernates", "tags", "state")
        for conn in snapshot.connections:
            ahead = ", ".join(map(str, conn.settled_ahead))
            table.add_row(
                Text(conn.conn_id), Text(conn.path), str(conn.msg_index), ahead, "yes" if conn.hibernatable else "no",
                Text(", ".join(conn.tags)), _value(conn.state),
            )  # fmt: skip
        console.print(table)
    if snapshot.alarms:
        table = _table("alarm", "scheduled for", "due", "attempt", "payload")
        for alarm in snapshot.alarms:
            table.add_row(
                Text(alarm.alarm), moment(alarm.scheduled_at), moment(alarm.due_at), str(alarm.attempt),
                _value(alarm.payload),
            )  # fmt: skip
        console.print(table)
    if snapshot.crons:
        table = _table("cron", "runs", "next", "due", "attempt", "payload", "last")
        for cron in snapshot.crons:
            times = f"every {cron.interval} ms" if cron.interval is not None else f"{cron.expression} {cron.time_zone}"
            table.add_row(
                Text(cron.name), Text(times), moment(cron.scheduled_at), moment(cron.due_at), str(cron.attempt),
                _value(cron.payload), Text(", ".join(map(_run, cron.runs[:MAX_RUNS]))),
            )  # fmt: skip
        console.print(table)
    if snapshot.dead_letters:
        table = _table("dead letter", "from", "index", "reason", "attempts", "at")
        for letter in snapshot.dead_letters:
            table.add_row(
                letter.kind, Text(letter.ref), str(letter.index), Text(letter.reason), str(letter.attempts),
                moment(letter.at),
            )  # fmt: skip
        console.print(table)


def _facts(snapshot: ActorSnapshot) -> list[tuple[str, str]]:
    module = snapshot.module
    facts = [
        ("actor", snapshot.actor_id),
        ("namespace", snapshot.namespace),
        ("lifecycle", snapshot.lifecycle),
        ("generation, epoch", f"{snapshot.generation}, {snapshot.epoch}"),
        ("module", f"{module.digest} ({module.definition} version {module.version})"),
        ("created", moment(snapshot.created_at)),
        ("started", moment(snapshot.started_at)),
        ("slept", moment(snapshot.slept_at)),
        ("wakes at", moment(snapshot.wake_at)),
        ("kv", f"{snapshot.kv.keys} keys, {snapshot.kv.bytes} bytes"),
        ("state", f"{snapshot.state_bytes} bytes"),
    ]
    if snapshot.last_error is not None:
        error = snapshot.last_error
        facts.append(("last error", f"{error.name}: {error.message}"))
    if snapshot.attempt or snapshot.retry_at is not None:
        facts.append(("failed attempts", f"{snapshot.attempt}, again at {moment(snapshot.retry_at)}"))
    return facts


def _run(run: CronRunSnapshot) -> str:
    if run.result == "skipped":
        return f"{run.number} skipped"
    return run.result if run.error is None else run.error


def _table(*names: str) -> Table:
    return Table(*names, box=None, header_style="bold", pad_edge=False)


def _value(raw: Raw) -> Text:
    text = bytes(raw).decode("utf-8", "replace")
    return Text(text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…")
