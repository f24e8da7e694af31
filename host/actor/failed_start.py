"""What a start that failed leaves behind: attempt, `retry_at` and the error in the actor's row, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from host.actor.backoff import next_attempt, start_delay_ms
from host.actor.instance import Instance
from host.model.effects import ActorChange, CommitUnit
from host.model.errors import ErrorInfo
from host.model.records import ActorRecord

__all__ = ["FailedStart"]


@dataclass(frozen=True, slots=True)
class FailedStart:
    """`delay` in ms until the next attempt; `shown` is what clients and operators see of the error. `lived` is the
    instance if it was awake and has failed by its faults."""

    record: ActorRecord
    shown: ErrorInfo
    attempt: int
    delay: int
    lived: Instance | None = None

    @classmethod
    def of(cls, record: ActorRecord, error: ErrorInfo, jitter: float, lived: Instance | None) -> FailedStart:
        attempt = next_attempt(record.attempt)
        given_up = "was given up after three faults of different events within a minute"
        what = "could not be started" if lived is None else given_up
        shown = ErrorInfo(
            "actor",
            "start_failed",
            f"the actor {what} ({error.name}: {error.message}); it is tried again after a delay",
            retryable=True,
            # the limit that a fault broke; what a guest has thrown stays between it and its log
            metadata=None if error.group == "user" else error.metadata,
        )
        return cls(record, shown, attempt, start_delay_ms(attempt, jitter), lived)

    def unit(self, *, epoch: int, hop_seq: int, claims: bool, wake_at: int | None, now: int) -> CommitUnit:
        """`hop_seq` is the last one that was written."""
        record, lived = self.record, self.lived
        change = ActorChange(
            lifecycle="failed",
            attempt=self.attempt,
            retry_at=now + self.delay,
            last_error=self.shown,
            started_once=record.started_once or lived is not None,
            version=record.version if lived is None else lived.runs[0],
            module=record.module if lived is None else lived.runs[1],
            started_at=record.started_at if lived is None else lived.started_at,
            slept_at=record.slept_at,
            held_version=record.held_version,
        )
        return CommitUnit(
            record.actor_id,
            record.generation,
            epoch,
            hop_seq + 1,
            claims=claims,
            wake_at=wake_at,
            actor=change,
        )
