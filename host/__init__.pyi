"""The types of what `host` gives by name; the names and their homes are in `__init__.py`."""

from host.client.client import Client as Client
from host.embedded import Host as Host
from host.gateway.callers import caller as caller
from host.model.definitions import EgressOptions as EgressOptions
from host.model.egress import EgressRefused as EgressRefused
from host.model.egress import EgressRequest as EgressRequest
from host.model.egress import EgressResponse as EgressResponse
from host.model.egress import Forward as Forward
from host.model.identity import Identity as Identity
from host.model.sources import Dynamic as Dynamic
from host.model.sources import LoadContext as LoadContext
from host.model.sources import ModuleSource as ModuleSource
from host.static.actor import Actor as Actor
from host.static.actor import action as action
from host.static.alarms import Alarm as Alarm
from host.static.conns import Conn as Conn
from host.static.crons import CronJob as CronJob
from host.static.crons import CronRun as CronRun
from host.static.crons import Firing as Firing
from host.static.errors import CallFailed as CallFailed
from host.static.errors import UserError as UserError
from host.static.http import AuthRequest as AuthRequest
from host.static.http import Request as Request
from host.static.http import Response as Response
from host.static.sockets import Closed as Closed
from host.static.sockets import Message as Message
from host.static.sockets import Socket as Socket
from host.static.tasks import Deferred as Deferred

__version__: str
__all__: list[str]
