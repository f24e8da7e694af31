"""What the host answers, as plain data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from host.model.definitions import DeployFailure, Manifest
from host.model.report import ModuleReport

__all__ = [
    "ActorInfo",
    "ActorPage",
    "ConnectionToken",
    "CreatedToken",
    "DeadLetterInfo",
    "DeadLetterPage",
    "DefinitionInfo",
    "DeployHistory",
    "HealthInfo",
    "ModuleDetails",
    "ModuleInfo",
    "RollbackInfo",
    "TokenInfo",
    "VersionInfo",
]


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


class ModuleDetails(ModuleInfo, frozen=True, kw_only=True):
    """`report` is None if the module was stored before there were reports; its counts that are 0 are left out."""

    manifest: Manifest
    stored_at: int
    source_url: str | None = None
    report: ModuleReport | None = None


class DefinitionInfo(Struct, frozen=True):
    """`awake` is set if the actors that are awake are being moved to it: how many there are; `moves` says how many of
    them run another version than they are to run. `alone`: no older version is live for everyone, so that new actors
    get this one whatever `percent` says."""

    name: str
    version: int
    module: str
    percent: int = 100
    awake: int | None = None
    moves: int | None = None
    alone: bool = False


class RollbackInfo(DefinitionInfo, frozen=True, kw_only=True):
    """The version that was taken back, and the one whose module the new version has."""

    from_version: int
    to_version: int


class VersionInfo(DefinitionInfo, frozen=True, kw_only=True):
    """How the deploy of one version goes; `reason` is why it failed."""

    created_at: int
    status: str
    reason: str | None = None


class DeployHistory(Struct, frozen=True):
    """The newest first; of the starts that failed the latest of each actor and version."""

    versions: list[VersionInfo]
    failures: list[DeployFailure]


class HealthInfo(Struct, frozen=True):
    status: str


class TokenInfo(Struct, frozen=True, kw_only=True):
    """A tenant token, without its secret; times in ms."""

    id: str
    label: str
    scopes: list[str]
    created_at: int
    expires_at: int | None = None


class CreatedToken(TokenInfo, frozen=True, kw_only=True):
    """`token` is shown this once."""

    token: str


class ConnectionToken(Struct, frozen=True):
    """`expires_at` in ms."""

    token: str
    expires_at: int
