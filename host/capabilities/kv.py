"""The actor's key-value store: batches that are all or nothing, byte order, own writes visible at once.

Every argument is checked before anything is recorded, so that a refused batch leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence

from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.effects import KvDeleteRange
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits

__all__ = ["delete", "delete_range", "get", "list_range", "prefix_end", "put"]


def get(state: ActorState, limits: Limits, keys: Sequence[bytes]) -> list[bytes | None]:
    _check_batch(len(keys), limits)
    for key in keys:
        _check_key(key, limits)
    return state.kv.get_many(keys)


def put(state: ActorState, recorder: TurnRecorder, limits: Limits, entries: Sequence[tuple[bytes, bytes]]) -> None:
    _check_batch(len(entries), limits)
    size = 0
    for key, value in entries:
        _check_key(key, limits)
        if len(value) > limits.kv_value:
            raise limit_error("kv_value", len(value), limits.kv_value, "split the value over several keys")
        size += len(key) + len(value)
    view = state.kv
    if view.bytes_estimate + size > limits.kv_actor and view.refresh_estimate() + size > limits.kv_actor:
        raise limit_error("kv_actor", view.bytes_estimate + size, limits.kv_actor, "delete what is no longer needed")
    if view.keys_estimate + len(entries) > limits.kv_keys:
        count = view.keys_with([key for key, _ in entries])
        if count > limits.kv_keys:
            raise limit_error("kv_keys", count, limits.kv_keys, "delete keys, or put more in a value")
    for key, value in entries:
        view.put(key, value)
        recorder.put(key, value)


def delete(state: ActorState, recorder: TurnRecorder, limits: Limits, keys: Sequence[bytes]) -> None:
    _check_batch(len(keys), limits)
    for key in keys:
        _check_key(key, limits)
    for key in keys:
        state.kv.delete(key)
        recorder.delete(key)


def delete_range(state: ActorState, recorder: TurnRecorder, limits: Limits, start: bytes, end: bytes) -> None:
    """[start, end); a range that is empty changes nothing."""
    _check_bound("start", start, limits)
    _check_bound("end", end, limits)
    if start >= end:
        return
    state.kv.delete_range(start, end)
    recorder.kv.append(KvDeleteRange(start, end))
    recorder.size += len(start) + len(end)


def list_range(
    state: ActorState,
    limits: Limits,
    *,
    prefix: bytes | None = None,
    start: bytes | None = None,
    end: bytes | None = None,
    reverse: bool = False,
    limit: int | None = None,
) -> list[tuple[bytes, bytes]]:
    """By prefix, or by [start, end), or everything."""
    if prefix is not None:
        if start is not None or end is not None:
            raise CallerError("request", "invalid", "a list is by prefix or by start and end, not both")
        start, end = prefix, prefix_end(prefix)
    start = b"" if start is None else start
    _check_bound("start", start, limits)
    if end is not None:
        _check_bound("end", end, limits)
    count = limits.kv_list if limit is None else limit
    if count > limits.kv_list:
        raise limit_error("kv_list", count, limits.kv_list, "ask for fewer and go on from the last key")
    if count < 1:
        raise CallerError("request", "invalid", "the limit of a list is at least 1")
    if end is not None and start >= end:
        return []
    return state.kv.scan(start, end, reverse=reverse, limit=count, max_bytes=limits.kv_list_bytes)


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key above all that start with `prefix`; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def _check_batch(count: int, limits: Limits) -> None:
    if count > limits.kv_batch:
        raise limit_error("kv_batch", count, limits.kv_batch, "split the call into smaller batches")


def _check_key(key: bytes, limits: Limits) -> None:
    if not key:
        raise CallerError("request", "invalid", "a KV key has at least one byte")
    if len(key) > limits.kv_key:
        raise limit_error("kv_key", len(key), limits.kv_key, "use a shorter key")


def _check_bound(name: str, bound: bytes, limits: Limits) -> None:
    if len(bound) > limits.kv_key:
        raise limit_error("kv_key", len(bound), limits.kv_key, f"use a shorter {name}")
