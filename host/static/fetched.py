"""The answer to a request that a static actor sent to the outside."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct

from host.bridge.envelopes import CompletionEvent, FetchResult

__all__ = ["Fetched", "read_fetched"]

_result = msgspec.json.Decoder(FetchResult)


class Fetched(Struct, frozen=True):
    """Header names are in lower case; `url` is the one that answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str
    redirected: bool

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first of this name."""
        return next((value for found, value in self.headers if found == name.lower()), None)

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        return msgspec.json.decode(self.body)


def read_fetched(done: CompletionEvent) -> Fetched:
    assert done.result is not UNSET, "a completion has a result or an error"
    found = _result.decode(bytes(done.result))
    body = done.body if isinstance(done.body, bytes) else b""
    return Fetched(found.status, tuple(found.headers), body, found.url, found.redirected)
