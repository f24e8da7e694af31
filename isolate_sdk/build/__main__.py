"""`python -m isolate_sdk.build`: puts the JavaScript engine into the tree (an editable install does it by itself)."""

from __future__ import annotations

import argparse
from pathlib import Path

from isolate_sdk.build.engine import build_engine

__all__ = ["main"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m isolate_sdk.build", description=__doc__)
    parser.add_argument("--pin", action="store_true", help="build, and write the digest of the output into the tree")
    parser.add_argument("--sdist", type=Path, help="a copy of the source distribution of the engine")
    options = parser.parse_args()
    build_engine(pin=options.pin, sdist=options.sdist)


if __name__ == "__main__":
    main()
