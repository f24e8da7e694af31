"""What an actor is given to work with: the layers below and the ports to those above, built by the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from host.actor.definitions import Definitions
from host.isolate.executor import Executor
from host.model.clock import Clock
from host.model.failpoints import OFF, FailPoints
from host.model.ids import RandomBytes
from host.model.limits import Limits
from host.model.ports import CallPort, EgressPort, GatewayPort, Metrics, TenantPort, WakePort
from host.storage.driver import Driver

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """`data_key` is the secret of the data directory; `fatal` ends the process (a commit whose outcome is unknown)."""

    storage: Driver
    executor: Executor
    definitions: Definitions
    gateway: GatewayPort
    wake: WakePort
    calls: CallPort
    egress: EgressPort
    tenants: TenantPort
    clock: Clock
    metrics: Metrics
    random: RandomBytes
    limits: Limits
    data_key: bytes
    fatal: Callable[[BaseException], None]
    failpoints: FailPoints = OFF

    def jitter(self) -> float:
        """A random number of [0, 1)."""
        return int.from_bytes(self.random(4), "big") / 2**32
