"""The manager API: actors by name, key and id, as the RivetKit clients ask for them.

Creating and looking up belong to the data plane; listing, putting to sleep and destroying to the control plane.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from host import __version__
from host.gateway.auth import guard_key
from host.gateway.bodies import read_body
from host.gateway.exchange import Deps, Endpoint, Exchange, Plane, json_response
from host.gateway.inputs import input_from_base64
from host.model.errors import CallerError, DormiceError
from host.model.ids import is_id
from host.model.records import ActorRecord
from host.wire.keys import decode_key, encode_key
from host.wire.strict_json import decode_strict

__all__ = ["ManagerApi"]

MAX_IDS = 100
MAX_PAGE = 1_000
# Room for names, keys and JSON around a creation input in base64.
ENVELOPE = 16 * 1_024


class _CreateBody(Struct):
    """`runner_name_selector`, `crash_policy` and `datacenter` are taken and ignored: there is one of each here."""

    name: str
    key: str | None = None
    input: str | None = None


class ManagerApi:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def endpoints(self) -> list[Endpoint]:
        row = Endpoint.row
        return [
            row("GET", "/metadata", "data", self.metadata),
            row("PUT", "/actors", "data", self.put),
            row("POST", "/actors", "data", self.post),
            row("GET", "/actors", _plane_of_get, self.get, "actors"),
            row("GET", "/actors/names", "control", self.names, "actors"),
            row("DELETE", "/actors/{actor_id}", "control", self.delete, "actors"),
            row("POST", "/actors/{actor_id}/sleep", "control", self.sleep, "actors"),
        ]

    async def metadata(self, exchange: Exchange) -> Response:
        return json_response({"runtime": "dormice", "version": __version__})

    async def put(self, exchange: Exchange) -> Response:
        self._deps.refuse_when_draining()
        name, key, value = await self._wanted(exchange)
        record, created = await self._deps.service.get_or_create(exchange.namespace, name, key, value)
        exchange.record = record
        return json_response({"actor": self._actor(record), "created": created})

    async def post(self, exchange: Exchange) -> Response:
        self._deps.refuse_when_draining()
        name, key, value = await self._wanted(exchange)
        record = exchange.record = await self._deps.service.create(exchange.namespace, name, key, value)
        return json_response({"actor": self._actor(record)})

    async def get(self, exchange: Exchange) -> Response:
        query, tenant = exchange.request.query_params, exchange.namespace
        if "actor_ids" in query:
            ids = [part for text in query.getlist("actor_ids") for part in text.split(",") if part]
            if len(ids) > MAX_IDS:
                raise CallerError("request", "invalid", f"ask for at most {MAX_IDS} actor_ids at a time")
            found = [await self._by_id(actor_id, tenant) for actor_id in dict.fromkeys(ids)]
            return self._page([record for record in found if record is not None and exchange.identity.reaches(record)])
        if "key" in query:
            name = query.get("name")
            if not name:
                raise CallerError("actor", "empty_name", "a key is looked up together with a name")
            record = await self._deps.service.find(tenant, name, decode_key(query["key"]))
            return self._page([] if record is None or not exchange.identity.reaches(record) else [record])
        page = await self._deps.storage.list_actors(
            tenant, query.get("name"), limit=_limit(query.get("limit")), cursor=query.get("cursor")
        )
        return self._page(list(page.actors), page.cursor)

    async def names(self, exchange: Exchange) -> Response:
        names = await self._deps.storage.actor_names(exchange.namespace)
        return json_response({"names": {name: {"metadata": {}} for name in names}, "pagination": {}})

    async def delete(self, exchange: Exchange) -> Response:
        record = await self._doomed(exchange)
        await self._deps.service.destroy(record.actor_id)
        return json_response({})

    async def sleep(self, exchange: Exchange) -> Response:
        record = await self._named(exchange)
        await self._deps.service.sleep(record.actor_id)
        return json_response({})

    # inside ------------------------------------------------------------------------------------------------------

    async def _wanted(self, exchange: Exchange) -> tuple[str, tuple[str, ...], bytes | None]:
        limits = self._deps.limits
        data = await read_body(
            exchange.request, self._deps.clock, limit="input", allowed=limits.input * 4 // 3 + ENVELOPE
        )
        body = decode_strict(data, _CreateBody)
        if not body.name:
            raise CallerError("actor", "empty_name", "an actor needs a name")
        value = None if body.input is None else input_from_base64(body.input, limits.input)
        key = decode_key(body.key or "")
        guard_key(exchange.identity, body.name, key, creates=True)
        return body.name, key, value

    async def _named(self, exchange: Exchange) -> ActorRecord:
        """The actor of the path."""
        record = await self._deps.service.record(exchange.path_id())
        exchange.guard_namespace(record)
        exchange.record = record
        return record

    async def _doomed(self, exchange: Exchange) -> ActorRecord:
        """The actor of the path, also if it is being destroyed: who asks for the same waits for the same end."""
        try:
            return await self._named(exchange)
        except DormiceError as error:
            record = await self._deps.service.being_destroyed(exchange.path_id())
            if error.name != "actor/not_found" or record is None:
                raise
        exchange.guard_namespace(record)
        exchange.record = record
        return record

    async def _by_id(self, actor_id: str, tenant: str) -> ActorRecord | None:
        if not is_id(actor_id):
            return None
        try:
            record = await self._deps.service.record(actor_id)
        except DormiceError as error:
            if error.name == "actor/not_found":
                return None
            raise
        return record if record.tenant == tenant else None

    def _page(self, records: list[ActorRecord], cursor: str | None = None) -> Response:
        pagination = {} if cursor is None else {"cursor": cursor}
        return json_response({"actors": [self._actor(record) for record in records], "pagination": pagination})

    def _actor(self, record: ActorRecord) -> dict[str, Any]:
        lifecycle = self._deps.service.lifecycle_of(record.actor_id)
        awake = lifecycle in ("starting", "running", "stopping")
        error = record.last_error
        return {
            "actor_id": record.actor_id,
            "name": record.name,
            "key": encode_key(record.key),
            "namespace_id": record.tenant,
            "datacenter": "default",
            "runner_name_selector": "default",
            "crash_policy": "sleep",
            "create_ts": record.created_at,
            "start_ts": record.started_at,
            "pending_allocation_ts": None,
            "connectable_ts": record.started_at if lifecycle == "running" else None,
            "sleep_ts": None if awake else record.slept_at,
            "reschedule_ts": record.retry_at,
            "destroy_ts": None,
            "error": None if error is None else {"group": error.group, "code": error.code, "message": error.message},
        }


def _plane_of_get(request: Request) -> Plane:
    """To look up what one can name is for clients; to list is for operators."""
    return "data" if {"actor_ids", "key"} & request.query_params.keys() else "control"


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_PAGE):
        raise CallerError("request", "invalid", f"limit is a number from 1 to {MAX_PAGE}")
    return int(text)
