"""Values as a static actor sees them: what it put into its state comes back from disk as what it was.

As everywhere (`host.wire.values`), but that a Set is a Python set: one that an actor keeps must be one after a wake
too, or code that worked until the first sleep would fail after it. Lists in a set are tuples, for it could not hold
them. A Set that no Python set can hold, of objects say, stays a `ValueSet`; only a client can have sent it.
"""

from __future__ import annotations

from typing import Any

from host.wire.values import ValueSet, to_python

__all__ = ["native"]


def native(raw: bytes) -> Any:
    """Raises `request/invalid`, as `to_python` does."""
    value = to_python(raw)
    return _with_sets(value) if b"$Set" in raw or b"\\u" in raw else value


def _with_sets(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_sets(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_sets(item) for key, item in value.items()}
    if isinstance(value, ValueSet):
        try:
            return {_hashable(_with_sets(item)) for item in value.items}
        except TypeError:
            return value
    return value


def _hashable(item: Any) -> Any:
    if isinstance(item, list):
        return tuple(_hashable(each) for each in item)
    return frozenset(item) if isinstance(item, set) else item
