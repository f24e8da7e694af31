"""Modules and definitions: the code that actors run, and the names that actors are created under."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "CAPABILITIES",
    "Definition",
    "DefinitionOptions",
    "DeployFailure",
    "DeployStatus",
    "EgressOptions",
    "Manifest",
    "ModuleKind",
    "ModuleRecord",
]

ModuleKind = Literal["wasm", "js"]
Codec = Literal["json", "framed"]
DeployStatus = Literal["live", "failed"]

# What a manifest may list. A capability that is not listed is not granted. `log`, `now` and `random` are always there.
CAPABILITIES: frozenset[str] = frozenset(
    {"kv", "state", "alarm", "socket", "timer", "sleep", "destroy", "fetch", "actor_call"}
)


class Manifest(Struct, frozen=True, omit_defaults=True):
    """The custom section `isolate.manifest` of a wasm module; fixed for kind js."""

    abi: int
    codec: Codec = "json"
    capabilities: tuple[str, ...] = ()
    name: str | None = None
    memory_pages: int | None = None


JS_MANIFEST = Manifest(abi=1, codec="framed", capabilities=tuple(sorted(CAPABILITIES)))


class ModuleRecord(Struct, frozen=True):
    """`digest` is 64 hex digits of sha256 over the bytes as uploaded; `size` is in bytes."""

    tenant: str
    digest: str
    kind: ModuleKind
    size: int
    manifest: Manifest
    stored_at: int
    source_url: str | None = None


class EgressOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where its actors may send requests: `host`, `*.host` (every name under it) or `host:port` each, or `*` for every
    public host. `methods` in capitals, None for all."""

    hosts: tuple[str, ...]
    methods: tuple[str, ...] | None = None


class DefinitionOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Durations in ms; None leaves the choice to the module, then to the default. Without `egress` its actors reach
    nothing outside of the host."""

    sleep_timeout: int | None = None
    action_timeout: int | None = None
    hibernate: bool | None = None
    egress: EgressOptions | None = None


class Definition(Struct, frozen=True):
    """One version of a definition. `limits` are overrides by name, already checked against the operator's maxima.
    `status`, `percent` (of the actors that it may reach) and `reason` (why it failed) tell how its deploy goes."""

    tenant: str
    name: str
    version: int
    module: str
    created_at: int
    options: DefinitionOptions = DefinitionOptions()
    limits: dict[str, int] = {}
    status: DeployStatus = "live"
    percent: int = 100
    reason: str | None = None


class DeployFailure(Struct, frozen=True):
    """An actor could not start on a version, at the time `at` (ms)."""

    version: int
    actor_id: str
    at: int
    reason: str
