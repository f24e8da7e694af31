"""Which keys an actor may be created under, and what it looks like right after; the same in every driver."""

from __future__ import annotations

from host.model.errors import CallerError
from host.model.records import ActorRecord
from host.storage.driver import CreateActor

__all__ = ["check_key", "new_record"]


def check_key(key: tuple[str, ...]) -> None:
    """A lone surrogate cannot be stored as text, nor sent."""
    try:
        "".join(key).encode()
    except UnicodeEncodeError as error:
        raise CallerError("actor", "invalid_request", "a part of the key is not valid Unicode text") from error


def new_record(wanted: CreateActor, generation: int) -> ActorRecord:
    return ActorRecord(
        actor_id=wanted.actor_id,
        tenant=wanted.tenant,
        name=wanted.name,
        key=wanted.key,
        generation=generation,
        epoch=0,
        hop_seq=0,
        version=wanted.version,
        module=wanted.module,
        created_at=wanted.now,
        input=wanted.input,
    )
