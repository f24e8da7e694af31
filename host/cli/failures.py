"""How a command tells that something went wrong: one line per error on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from host.model.errors import DormiceError, InternalError

__all__ = ["lines_of", "report"]


def lines_of(error: BaseException) -> list[str]:
    """`group/code: message` for each error, those inside groups included, without repetitions."""
    return list(dict.fromkeys(_line(leaf) for leaf in _leaves(error)))


def report(error: BaseException) -> None:
    for line in lines_of(error):
        print(line, file=sys.stderr)


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
        masked = error.group == "internal" and error.ray
        return f"{error.name}: {error.message}" + (f" (ray {error.ray}: the host's log says more)" if masked else "")
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return f"system/os_error: {error.strerror or error}{place}"
    return f"internal/internal_error: {type(error).__name__}: {error}"
