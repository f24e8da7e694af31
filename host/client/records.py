"""What the host answers, as plain data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["ActorInfo", "ActorPage", "DeadLetterInfo", "DeadLetterPage", "DefinitionInfo", "HealthInfo", "ModuleInfo"]


class ActorInfo(Struct, frozen=True):
    """`key` is in the manager API's form (`host.wire.keys`); times in ms or None."""

    actor_id: str
    name: str
    key: str
    namespace_id: str = "default"
    create_ts: int | None = None
    start_ts: int | None = None
    sleep_ts: int | None = None
    destroy_ts: int | None = None
    error: Any = None


class ActorPage(Struct, frozen=True):
    actors: list[ActorInfo]
    cursor: str | None = None


class DeadLetterInfo(Struct, frozen=True):
    """Something that was given up. Of the payload one of `text` and `base64` is set; `truncated` if it was longer."""

    kind: str
    ref: str
    index: int | str
    reason: str
    message: str
    attempts: int
    at: int
    text: str | None = None
    base64: str | None = None
    truncated: bool = False


class DeadLetterPage(Struct, frozen=True):
    letters: list[DeadLetterInfo]
    cursor: str | None = None


class ModuleInfo(Struct, frozen=True):
    """`digest` with its `sha256:` prefix."""

    digest: str
    kind: str
    size: int


class DefinitionInfo(Struct, frozen=True):
    name: str
    version: int
    module: str


class HealthInfo(Struct, frozen=True):
    status: str
