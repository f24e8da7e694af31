"""Threads that guests may run on: 16 MiB of stack.

A guest's frames live on the thread's own stack, up to 2 MiB of them, and a host function may be called from the deepest
one. On a small stack that is no trap but a segmentation fault of the whole process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["STACK_BYTES", "run_on_guest_thread", "start_guest_thread"]

STACK_BYTES = 16 * 1024 * 1024

T = TypeVar("T")

_starting = threading.Lock()


def start_guest_thread(name: str, body: Callable[[], None]) -> threading.Thread:
    """Starts `body` on a guest thread. The stack size is a setting of the process, so it is set around the start."""
    thread = threading.Thread(target=body, name=name, daemon=True)
    with _starting:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


def run_on_guest_thread(job: Callable[[], T]) -> T:
    """Runs one job on a guest thread of its own and waits for it: for tools and image building, not for turns."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(job())
        except BaseException as error:  # noqa: BLE001 - raised again below, on the caller's thread
            errors.append(error)

    start_guest_thread("dormice-guest-once", body).join()
    if errors:
        raise errors[0]
    return results[0]
