"""The way out for actors: closed, unless the definition has opened it for some hosts, or the operator has put a
function of theirs into it.

Every request is logged, with host, bytes, status and outcome, and counted. Its path, query and headers are the actor's
own, and may hold its secrets: the log has nothing of them, nor of the message that tells the actor what went wrong.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from host.model.calls import Caller, CallOutcome, FetchCall
from host.model.clock import Clock
from host.model.definitions import EgressOptions
from host.model.egress import EgressFunction, EgressRefused, EgressRequest, EgressResponse
from host.model.errors import DormiceError, ErrorInfo, InternalError
from host.model.ports import Hold, Metrics
from host.outbound.address_guard import AddressGuard, Resolve
from host.outbound.egress_rules import EgressRules, read_egress
from host.outbound.exchange import Exchanges
from host.outbound.fetching import Fetched, Outgoing, fetch
from host.outbound.lookups import OWNER, Lookups
from host.outbound.purpose import ACTOR_FETCH
from host.outbound.transport import Network
from host.outbound.url_rules import MAX_URL, HostPattern, Url, is_plain
from host.telemetry.limit_hits import note_limit
from host.telemetry.logging import get_logger

__all__ = ["ALL_DEFINITIONS", "Egress"]

log = get_logger("egress")

# The name of a function that stands in the way of every definition without one of its own.
ALL_DEFINITIONS = "*"
_ANYWHERE = EgressOptions(hosts=("*",))
_PORTS = {"http": 80, "https": 443}


class _Result(Struct, frozen=True):
    """What the guest gets beside the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    url: str
    redirected: bool


class Egress:
    """Implements `EgressPort`. `hosts` bounds what definitions can open, None for every public host. `network` opens
    the connections to checked addresses; the system's if it is left out."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        allow_private: bool = False,
        hosts: tuple[HostPattern, ...] | None = None,
        functions: Mapping[str, EgressFunction] | None = None,
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
        network: Network | None = None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._allow_private = allow_private
        self._hosts = hosts
        self._functions = dict(functions or {})
        guard = AddressGuard(allow_private=allow_private, resolve=resolve or Lookups(), purpose=ACTOR_FETCH)
        self._exchanges = Exchanges(clock, guard, purpose=ACTOR_FETCH, ssl_context=ssl_context, network=network)

    async def fetch(self, caller: Caller, call: FetchCall, hold: Hold) -> CallOutcome:
        began = self._clock.monotonic()
        OWNER.set(caller.tenant)  # of this call's own task
        timeout = caller.limits.call_timeout if call.timeout is None else call.timeout
        fetched: Fetched | None = None
        error: ErrorInfo | None = None
        detail: str | None = None
        try:
            with self._clock.fail_after(timeout / 1_000):
                fetched = await self._fetched(caller, call, hold)
        except TimeoutError:
            metadata = b'{"limit":"call_timeout","used":%d,"allowed":%d}' % (timeout, timeout)
            error = ErrorInfo("fetch", "timeout", f"there was no whole answer within {timeout} ms", metadata=metadata)
        except DormiceError as failure:
            error, detail = failure.info, failure.detail
        except Exception as failure:
            log.exception("fetch failed", actor_id=caller.actor_id, tenant=caller.tenant)
            error, detail = InternalError("a fetch of an actor failed").info, repr(failure)
        self._tell(caller, call, fetched, error, detail, self._clock.monotonic() - began)
        if fetched is None:
            return CallOutcome(error=error)
        result = _Result(fetched.status, fetched.headers, fetched.url, fetched.redirected)
        return CallOutcome(msgspec.json.encode(result), body=fetched.body)

    def _tell(
        self,
        caller: Caller,
        call: FetchCall,
        fetched: Fetched | None,
        error: ErrorInfo | None,
        detail: str | None,
        seconds: float,
    ) -> None:
        outcome = "ok" if error is None else error.name
        self._metrics.count("fetches", outcome)
        self._metrics.observe("fetch", seconds)
        if error is not None:
            note_limit(self._metrics, error)
        log.info(
            "fetch",
            actor_id=caller.actor_id,
            tenant=caller.tenant,
            definition=caller.name,
            host=_host_of(call.url),
            method=call.method,
            sent=len(call.body),
            received=0 if fetched is None else len(fetched.body),
            status=None if fetched is None else fetched.status,
            redirects=None if fetched is None else fetched.redirects,
            outcome=outcome,
            detail=detail,
            ms=round(seconds * 1_000, 1),
        )

    async def _fetched(self, caller: Caller, call: FetchCall, hold: Hold) -> Fetched:
        outgoing = Outgoing(call.method, call.url, call.headers, call.body, call.redirect)
        function = self._functions.get(caller.name) or self._functions.get(ALL_DEFINITIONS)
        if function is not None:
            return await self._by_function(function, caller, outgoing, hold)
        if caller.egress is None:
            raise ACTOR_FETCH.refusal(
                "this definition may not send requests to the outside: deploy it with options.egress (--egress HOST)"
            )
        return await self._send(caller, outgoing, read_egress(caller.egress, self._allow_private), hold)

    async def _send(self, caller: Caller, outgoing: Outgoing, rules: EgressRules, hold: Hold) -> Fetched:
        return await fetch(self._exchanges, outgoing, rules, caller.limits, hold, self._check_operator)

    def _check_operator(self, at: Url) -> None:
        if self._hosts is None:
            return
        port = at.port or _PORTS[at.scheme]
        if not any(each.allows(at.host, port) or (self._allow_private and each.names(at.host)) for each in self._hosts):
            raise ACTOR_FETCH.refusal(f"{at.host!r} is not among the hosts that this host lets actors reach")

    # --- a function of the operator's ----------------------------------------------------------------------------

    async def _by_function(self, function: EgressFunction, caller: Caller, outgoing: Outgoing, hold: Hold) -> Fetched:
        """It sees every request; what it sends on goes to public addresses, and its answer has the same bounds."""
        if len(outgoing.url) > MAX_URL or not is_plain(outgoing.url):
            raise ACTOR_FETCH.refusal("the URL is too long, or not printable ASCII")
        rules = read_egress(_ANYWHERE, self._allow_private)

        async def forward(request: EgressRequest) -> EgressResponse:
            sent = Outgoing(request.method, request.url, request.headers, request.body, outgoing.redirect)
            found = await self._send(caller, sent, rules, hold)
            return EgressResponse(found.status, found.headers, found.body, found.url)

        request = EgressRequest(
            caller.tenant,
            caller.actor_id,
            caller.name,
            caller.key,
            outgoing.method.upper(),
            outgoing.url,
            outgoing.headers,
            outgoing.body,
        )
        try:
            response = await function(request, forward)
        except EgressRefused as refused:
            raise ACTOR_FETCH.refusal(str(refused) or "the egress of this definition refused it") from refused
        except (DormiceError, TimeoutError):
            raise
        except Exception as error:
            # The operator's own code: its error is for the log.
            raise ACTOR_FETCH.failure(
                "the egress of this definition failed", detail=repr(error), retryable=False
            ) from error
        return _answered(response, outgoing, caller)


def _answered(response: object, outgoing: Outgoing, caller: Caller) -> Fetched:
    limits = caller.limits
    if not isinstance(response, EgressResponse):
        raise ACTOR_FETCH.failure(
            "the egress of this definition failed",
            detail=f"an egress returns an EgressResponse, not a {type(response).__name__}",
            retryable=False,
        )
    if not 200 <= response.status <= 599 or len(response.body) > limits.body or len(response.headers) > limits.headers:
        raise ACTOR_FETCH.failure(
            "the egress of this definition failed",
            detail=f"status {response.status}, {len(response.body)} bytes, {len(response.headers)} headers",
            retryable=False,
        )
    url = outgoing.url if response.url is None else response.url
    headers = tuple((name.lower(), value) for name, value in response.headers)
    return Fetched(response.status, headers, bytes(response.body), url, int(url != outgoing.url))


def _host_of(url: str) -> str:
    """For the log: never more of a URL than its host, and no more of that than a name can have. What could be no URL is
    not even looked into: the parser takes seconds for megabytes of some letters, and remembers what it was asked."""
    if len(url) > MAX_URL or not is_plain(url):
        return ""
    try:
        return (urlsplit(url).hostname or "")[:253]
    except ValueError:
        return ""
