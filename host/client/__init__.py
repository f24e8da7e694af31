"""The Python client: definitions, actors, actions, connections, sockets of a running host. Loads without the engine."""

from __future__ import annotations

from host.client.client import Client
from host.client.connection import Connection
from host.client.events import Event
from host.client.handle import ActorHandle
from host.client.records import ActorInfo, ModuleInfo
from host.client.session import SessionLost, SessionSocket
from host.client.socket import ActorSocket, SocketClosed
from host.model.errors import CallerError, DormiceError, TenantError, UnavailableError

__all__ = [
    "ActorHandle",
    "ActorInfo",
    "ActorSocket",
    "CallerError",
    "Client",
    "Connection",
    "DormiceError",
    "Event",
    "ModuleInfo",
    "SessionLost",
    "SessionSocket",
    "SocketClosed",
    "TenantError",
    "UnavailableError",
]
