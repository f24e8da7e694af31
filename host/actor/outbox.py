"""The outbox of the actor's sessions in the running hop: frames get their numbers here, and go
to disk in the commit of the turn that sent them. Pure.

A ring for each session: what falls out at its old end, by frames or by bytes, goes in the same commit.
"""

from __future__ import annotations

from msgspec.structs import replace

from host.model.effects import OutboxFrame, OutboxTrim, SendFrame, TurnEffects
from host.model.limits import Limits
from host.model.records import ConnectionRow

__all__ = ["Outbox"]


class Outbox:
    """`rows` are the ledger's: `sent_index` and `sent_bytes` in them move with every frame."""

    def __init__(self, rows: dict[str, ConnectionRow], limits: Limits) -> None:
        self._rows = rows
        self._limits = limits
        self._frames: list[OutboxFrame] = []

    def number(self, effects: TurnEffects) -> TurnEffects:
        """The effects with the frames of sessions numbered, which are entered for the next unit."""
        for output in effects.outputs:
            row = self._rows.get(output.conn)
            if row is not None and row.session is not None and isinstance(output, SendFrame):
                break
        else:
            return effects
        return replace(
            effects,
            outputs=tuple(
                self.enter(output) if isinstance(output, SendFrame) else output for output in effects.outputs
            ),
        )

    def enter(self, sent: SendFrame) -> SendFrame:
        """With its number, if it is for a session."""
        row = self._rows.get(sent.conn)
        if row is None or row.session is None:
            return sent
        size = len(sent.data if isinstance(sent.data, bytes) else sent.data.encode())
        index = row.sent_index + 1
        self._frames.append(OutboxFrame(sent.conn, index, row.sent_bytes, size, sent.data))
        self._rows[sent.conn] = replace(row, sent_index=index, sent_bytes=row.sent_bytes + size)
        return SendFrame(sent.conn, sent.data, index)

    def __bool__(self) -> bool:
        return bool(self._frames)

    def take(self) -> tuple[tuple[OutboxFrame, ...], tuple[OutboxTrim, ...]]:
        """What was entered since the last time, and where each ring begins from now on."""
        frames, self._frames = tuple(self._frames), []
        trims: list[OutboxTrim] = []
        for last in {frame.conn_id: frame for frame in frames}.values():
            index = last.index - self._limits.outbox_frames + 1
            start = last.start + last.size - self._limits.outbox
            if index > 1 or start > 0:
                trims.append(OutboxTrim(last.conn_id, index, start))
        return frames, tuple(trims)
