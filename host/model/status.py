"""How an actor is, in a few words: what operators and clients that wait for it ask first."""

from __future__ import annotations

from msgspec import Struct

from host.model.errors import ErrorInfo

__all__ = ["ActorStatus"]


class ActorStatus(Struct, frozen=True):
    """Times in ms. `state` is the live one: absent (never started), starting, running, stopping, asleep or failed.
    `version` and `module` are those of the last start that settled; `attempt`, `retry_at` and `last_error` tell of
    those that failed since. `held_version` is a version that it could not start on, and is held back from."""

    actor_id: str
    namespace: str
    name: str
    key: list[str]
    generation: int
    state: str
    version: int
    module: str
    attempt: int = 0
    retry_at: int | None = None
    last_error: ErrorInfo | None = None
    held_version: int | None = None
    started_at: int | None = None
    slept_at: int | None = None
