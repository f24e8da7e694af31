"""Dormice: a sandboxed dynamic-actor host.

What a program needs is here by name, and loaded when it is asked for: to define actors or to talk to a host costs
neither the engine nor the server.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each name lives: `from host import name` loads that module and what it needs. Their types are in `__init__.pyi`.
_HOMES = {
    "Actor": "host.static.actor",
    "AuthRequest": "host.static.http",
    "Alarm": "host.static.alarms",
    "CallFailed": "host.static.errors",
    "Client": "host.client.client",
    "Closed": "host.static.sockets",
    "Conn": "host.static.conns",
    "CronJob": "host.static.crons",
    "CronRun": "host.static.crons",
    "Deferred": "host.static.tasks",
    "Dynamic": "host.model.sources",
    "EgressOptions": "host.model.definitions",
    "EgressRefused": "host.model.egress",
    "EgressRequest": "host.model.egress",
    "EgressResponse": "host.model.egress",
    "Firing": "host.static.crons",
    "Forward": "host.model.egress",
    "Host": "host.embedded",
    "Identity": "host.model.identity",
    "LoadContext": "host.model.sources",
    "Message": "host.static.sockets",
    "ModuleSource": "host.model.sources",
    "Request": "host.static.http",
    "Response": "host.static.http",
    "Socket": "host.static.sockets",
    "UserError": "host.static.errors",
    "action": "host.static.actor",
    "caller": "host.gateway.callers",
}

__all__ = [
    "Actor",
    "Alarm",
    "AuthRequest",
    "CallFailed",
    "Client",
    "Closed",
    "Conn",
    "CronJob",
    "CronRun",
    "Deferred",
    "Dynamic",
    "EgressOptions",
    "EgressRefused",
    "EgressRequest",
    "EgressResponse",
    "Firing",
    "Forward",
    "Host",
    "Identity",
    "LoadContext",
    "Message",
    "ModuleSource",
    "Request",
    "Response",
    "Socket",
    "UserError",
    "__version__",
    "action",
    "caller",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
