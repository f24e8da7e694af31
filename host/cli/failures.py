"""How a command tells that something went wrong: one line per error on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from host.model.errors import DormiceError, InternalError

__all__ = ["lines_of", "report", "where_to_look"]


_MASKED = "internal/internal_error"
_WAYS_IN = {
    "auth/unauthenticated": " (set DORMICE_TOKEN)",
    "auth/forbidden": " (it has to be valid, have the scope for this, and be of the namespace that --namespace says)",
}


def lines_of(error: BaseException) -> list[str]:
    """`group/code: message` for each error, those inside groups included, without repetitions."""
    return list(dict.fromkeys(_line(leaf) for leaf in _leaves(error)))


def report(error: BaseException) -> None:
    for line in lines_of(error):
        print(line, file=sys.stderr)


def where_to_look(name: str, message: str, ray: str | None = None) -> str:
    """Where the cause is told of an error that is masked for clients, or how one gets in; empty for any other."""
    if name == _MASKED and ray:
        return f" (ray {ray}: the host's log says more)"
    if name == "actor/start_failed" and _MASKED in message:
        return " (the host's log and `dormice deploys` of its name tell the cause)"
    return _WAYS_IN.get(name, "")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _line(error: BaseException) -> str:
    if isinstance(error, InternalError):
        return f"{error.name}: {error.detail}"  # whoever runs the command is the operator: the detail is for them
    if isinstance(error, DormiceError):
        return f"{error.name}: {error.message}{where_to_look(error.name, error.message, error.ray)}"
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return f"system/os_error: {error.strerror or error}{place}"
    return f"internal/internal_error: {type(error).__name__}: {error}"
