"""`python -m host.cli` is `dormice`."""

from __future__ import annotations

from host.cli.main import main

main()
