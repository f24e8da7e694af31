"""Calls that complete later with a result: of another actor, or to the outside. Never durable, bounded per start.

They start after the commit of the turn that asked; `done` is how the actor says that the answer came or never will.
"""

from __future__ import annotations

import re

from host.capabilities.recorder import TurnRecorder
from host.capabilities.timers import CallIds
from host.model.calls import FetchCall, PeerCall, PeerMethod, RedirectMode
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits

__all__ = ["Calls"]

# Of actors and of actions, in characters.
MAX_NAME = 256

_METHOD = re.compile(r"[A-Za-z]{1,32}\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,16384}\Z")


class Calls:
    """Those of one start. They share their ids with its timers."""

    __slots__ = ("_ids", "_outstanding")

    def __init__(self, ids: CallIds) -> None:
        self._ids = ids
        self._outstanding: set[int] = set()

    def __len__(self) -> int:
        return len(self._outstanding)

    def __contains__(self, call: int) -> bool:
        return call in self._outstanding

    def _begin(self, limits: Limits, timeout: int | None) -> int:
        if len(self._outstanding) >= limits.calls:
            raise limit_error("calls", len(self._outstanding) + 1, limits.calls, "wait for calls to complete")
        if timeout is not None and timeout < 1:
            raise CallerError("request", "invalid", "a time-out is 1 ms or more")
        if timeout is not None and timeout > limits.call_timeout:
            raise limit_error("call_timeout", timeout, limits.call_timeout, "wait for less long")
        call = self._ids.take()
        self._outstanding.add(call)
        return call

    def call_peer(
        self,
        recorder: TurnRecorder,
        limits: Limits,
        *,
        name: str,
        key: tuple[str, ...],
        method: PeerMethod,
        action: str | None,
        args: bytes,
        input: bytes | None,
        actor: str | None,
        timeout: int | None,
    ) -> int:
        if len(args) > limits.action:
            raise limit_error("action", len(args), limits.action, "send less", name="message/outgoing_too_long")
        if input is not None and len(input) > limits.input:
            raise limit_error("input", len(input), limits.input, "send less", name="actor/input_too_large")
        # Nothing that an actor or an action is called is longer; what is kept of a call counts by its size.
        if max(len(name), len(action or ""), len(actor or "")) > MAX_NAME:
            raise CallerError("request", "invalid", f"actors and actions have names of at most {MAX_NAME} characters")
        if actor is not None and (method != "get" or name or key or input is not None):
            raise CallerError("request", "invalid", "an actor is named by its id, or by name and key: not by both")
        call = self._begin(limits, timeout)
        recorder.defer(PeerCall(call, name, key, method, action, args, input, actor, timeout))
        return call

    def fetch(
        self,
        recorder: TurnRecorder,
        limits: Limits,
        *,
        url: str,
        method: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        redirect: RedirectMode,
        timeout: int | None,
    ) -> int:
        _check_request(method, headers)
        if len(body) > limits.body:
            raise limit_error("body", len(body), limits.body, "send less", name="message/outgoing_too_long")
        if len(headers) > limits.headers:
            raise limit_error("headers", len(headers), limits.headers, "send fewer", name="message/outgoing_too_long")
        size = sum(len(name) + len(value) for name, value in headers)
        if size > limits.header_bytes:
            raise limit_error("header_bytes", size, limits.header_bytes, "send less", name="message/outgoing_too_long")
        call = self._begin(limits, timeout)
        recorder.defer(FetchCall(call, url, method, headers, body, redirect, timeout))
        return call

    def cancel(self, recorder: TurnRecorder, call: int) -> bool:
        """No completion of it comes any more. False if it is not outstanding."""
        if call not in self._outstanding:
            return False
        self._outstanding.discard(call)
        recorder.give_up(call)
        return True

    def done(self, call: int) -> bool:
        """False if it was not outstanding: it was cancelled."""
        if call not in self._outstanding:
            return False
        self._outstanding.discard(call)
        return True


def _check_request(method: str, headers: tuple[tuple[str, str], ...]) -> None:
    """A line that could end early would let a request be followed by one of the guest's own making."""
    if not _METHOD.match(method):
        raise CallerError("request", "invalid", "the method of a request is a word of at most 32 letters")
    for name, value in headers:
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise CallerError("request", "invalid", f"the header {name[:80]!r} is not valid HTTP")
