"""One decoded reply of a turn, and the second, typed look at those results that are not Values.

The envelope alone cannot say what a result is: that depends on the event it settles, which the actor knows. So the
buffers of the frame stay here until the actor has asked for every result, and `finish` refuses what is left over.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from msgspec import UNSET

from host.bridge.envelopes import CallError, HttpReply, Settled, StartReply, TurnReply
from host.bridge.framing import Buffers, MalformedFrame
from host.model.errors import CallerError, GuestFault
from host.wire.values import check_value

__all__ = ["Reply", "bad_reply"]

T = TypeVar("T")

_http = msgspec.json.Decoder(HttpReply)
_start = msgspec.json.Decoder(StartReply)
# Groups of errors whose metadata goes on to whoever asked: what the guest says, and what an SDK finds wrong.
_TOLD = frozenset({"user", "actor"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,16384}")


def bad_reply(detail: str) -> GuestFault:
    """What is wrong goes to the log; clients see the code and that it was the actor's doing."""
    return GuestFault("bad_reply", "the actor's code gave an answer that is not a valid envelope", detail=detail)


class Reply:
    __slots__ = ("_buffers", "pending", "settled")

    def __init__(self, reply: TurnReply, buffers: list[bytes]) -> None:
        self.settled: list[Settled] = reply.settled
        self.pending: int = reply.pending
        self._buffers = Buffers(buffers) if buffers else _NO_BUFFERS

    def size(self, settled: Settled) -> int:
        """Bytes of the result as the guest wrote it."""
        return 0 if settled.result is UNSET else len(memoryview(settled.result))

    def value(self, settled: Settled) -> bytes:
        """The result of an action: a Value, checked in its tags because it goes to strangers."""
        if settled.result is UNSET:
            return b"null"
        raw = bytes(settled.result)
        try:
            check_value(raw)
        except CallerError as error:
            raise bad_reply(error.message) from None
        return raw

    def error(self, settled: Settled) -> CallError | None:
        """What the guest raised, if it did; the metadata is a Value, checked because it goes to strangers (that of
        groups that never do goes to the log alone)."""
        if settled.error is UNSET:
            return None
        if settled.error.metadata is not UNSET and settled.error.group in _TOLD:
            try:
                check_value(bytes(settled.error.metadata))
            except CallerError as error:
                raise bad_reply(error.message) from None
        return settled.error

    def start(self, settled: Settled) -> StartReply:
        """What a guest says of itself; absent and null mean the defaults."""
        return self._typed(settled, _start) or StartReply()

    def http(self, settled: Settled) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers, body. A header that could end its line is refused: a server would write it as it is."""
        reply = self._typed(settled, _http) or HttpReply()
        if not 200 <= reply.status <= 599:
            raise bad_reply(f"the status {reply.status} is not between 200 and 599")
        for name, value in reply.headers:
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise bad_reply(f"the header {name[:80]!r} is not valid HTTP")
        try:
            return reply.status, reply.headers, self._buffers.take(reply.body)
        except MalformedFrame as error:
            raise bad_reply(str(error)) from None

    def finish(self) -> None:
        """Call when every result has been asked for: buffers that nobody named make the reply a bad one."""
        if self._buffers is _NO_BUFFERS:
            return
        try:
            self._buffers.finish()
        except MalformedFrame as error:
            raise bad_reply(str(error)) from None

    def _typed(self, settled: Settled, decoder: msgspec.json.Decoder[T]) -> T | None:
        if settled.result is UNSET:
            return None
        raw = bytes(settled.result)
        if raw == b"null":
            return None
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_reply(f"the result of event {settled.event}: {error}") from None


_NO_BUFFERS = Buffers([])
