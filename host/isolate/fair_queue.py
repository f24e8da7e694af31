"""Which job is next: in turns between tenants, none of them over its share.

A plain data structure without locks or threads. A tenant is in the ring exactly while it has waiting jobs and runs
fewer than `share`; so a tenant that floods the host waits for itself only.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

J = TypeVar("J")


class _Line(Generic[J]):
    __slots__ = ("in_ring", "jobs", "running")

    def __init__(self) -> None:
        self.jobs: deque[J] = deque()
        self.running = 0
        self.in_ring = False


class FairQueue(Generic[J]):
    """`put`, `take` (the next job that may run, or None) and `done` (a job of the tenant has ended)."""

    __slots__ = ("_lines", "_ring", "_share", "running", "waiting")

    def __init__(self, share: int) -> None:
        self.waiting = 0
        self.running = 0
        self._share = share
        self._lines: dict[str, _Line[J]] = {}
        self._ring: deque[str] = deque()

    def put(self, tenant: str, job: J) -> None:
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = _Line()
        line.jobs.append(job)
        self.waiting += 1
        self._enlist(tenant, line)

    def take(self) -> tuple[str, J] | None:
        if not self._ring:
            return None
        tenant = self._ring.popleft()
        line = self._lines[tenant]
        line.in_ring = False
        job = line.jobs.popleft()
        line.running += 1
        self.waiting -= 1
        self.running += 1
        self._enlist(tenant, line)
        return tenant, job

    def done(self, tenant: str) -> None:
        line = self._lines[tenant]
        line.running -= 1
        self.running -= 1
        if line.jobs:
            self._enlist(tenant, line)
        elif not line.running:
            del self._lines[tenant]

    def _enlist(self, tenant: str, line: _Line[J]) -> None:
        if line.jobs and not line.in_ring and line.running < self._share:
            line.in_ring = True
            self._ring.append(tenant)
