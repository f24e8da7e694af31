"""A host in a process of its own, for the benchmarks: prints its port as JSON, then runs until it is ended."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from host.config import Settings
from host.node import Node, run


def main() -> None:
    data_dir, profile = Path(sys.argv[1]), sys.argv[2]

    def ready(_node: Node, port: int) -> None:
        print(msgspec.json.encode({"port": port}).decode(), flush=True)

    settings = Settings(
        data_dir=data_dir,
        port=0,
        dev=True,
        log_level="error",
        profile="dense" if profile == "dense" else "default",
    )
    run(settings, ready=ready)


if __name__ == "__main__":
    main()
