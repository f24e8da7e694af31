"""Where the guest examples are: in the source tree, or carried by the installed package."""

from __future__ import annotations

from pathlib import Path

from host.model.errors import InternalError

__all__ = ["example_source"]

_PACKAGE = Path(__file__).parent
_PLACES = (_PACKAGE / "examples", _PACKAGE.parent.parent / "guest_examples")


def example_source(name: str) -> Path:
    """The JavaScript module of an example."""
    for place in _PLACES:
        for path in (place / name / f"{name}.js", place / name / "actor.js", place / name / "index.js"):
            if path.is_file():
                return path
    raise InternalError(
        f"the example {name} is missing from this installation; looked in {_PLACES[0]} and {_PLACES[1]}"
    )
