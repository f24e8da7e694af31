"""The Python client: definitions, actors, actions and raw sockets of a running host. Loads without the engine."""

from __future__ import annotations

from host.client.client import Client
from host.client.records import ActorInfo, ModuleInfo
from host.client.session import SessionLost, SessionSocket
from host.client.socket import ActorSocket, SocketClosed

__all__ = ["ActorInfo", "ActorSocket", "Client", "ModuleInfo", "SessionLost", "SessionSocket", "SocketClosed"]
