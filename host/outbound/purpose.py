"""What a request to the outside is for: the codes of its errors, and the words in which they speak of it.

The checks are the same for all; whoever reads the error of one did not ask for the other.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.errors import CallerError, DormiceError, UnavailableError

__all__ = ["ACTOR_FETCH", "MODULE_LOAD", "Purpose"]


class Purpose(Struct, frozen=True):
    """`what` begins a sentence that says how it is done; `private` is what to do about an address that is not public,
    `unlisted` says who has listed the hosts."""

    group: str
    refused: str
    failed: str
    late: str
    what: str
    private: str
    unlisted: str

    def refusal(self, message: str, detail: str | None = None) -> DormiceError:
        """It must not be sent like this."""
        return CallerError(self.group, self.refused, message, detail=detail)

    def failure(self, message: str, *, detail: str | None = None, retryable: bool = True) -> DormiceError:
        """The other side did not do its part."""
        return UnavailableError(self.group, self.failed, message, detail=detail, retryable=retryable)

    def timeout(self, message: str) -> DormiceError:
        return UnavailableError(self.group, self.late, message)


MODULE_LOAD = Purpose(
    group="module",
    refused="fetch_refused",
    failed="fetch_failed",
    late="fetch_timeout",
    what="a module is loaded from",
    private="upload the module instead, or start the host with --allow-private-urls",
    unlisted="is not among the hosts that this host loads modules from (--url-hosts)",
)
ACTOR_FETCH = Purpose(
    group="fetch",
    refused="refused",
    failed="failed",
    late="timeout",
    what="an actor sends requests to",
    private="an actor reaches public addresses only",
    unlisted="is not among the hosts that the definition of this actor may send requests to (options.egress.hosts)",
)
