"""Shows what takes over a second: a spinner on a terminal, log lines elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status

from host.telemetry.logging import get_logger

__all__ = ["ShownProgress"]

log = get_logger("progress")


class ShownProgress:
    """Implements `host.modules.compile.Progress`. Several things at a time share the one spinner."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._under_way: list[str] = []
        self._status: Status | None = None

    def __call__(self, what: str, *, done: bool) -> None:
        if done:
            self._under_way.remove(what)
        else:
            self._under_way.append(what)
        if self._console.is_terminal:
            self._spin()
        elif not done:
            log.info("working", on=what)

    def _spin(self) -> None:
        if not self._under_way:
            if self._status is not None:
                self._status.stop()
                self._status = None
            return
        text = ", ".join(self._under_way) + " …"
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)
