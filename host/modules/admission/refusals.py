"""How admission says no: a limit with its numbers, or a proposal by its name.

Bytes that do not add up are `module/malformed` without metadata. Whatever a compiler would take and this host does not
carries metadata that names the rule, so that a tenant (and a test) can tell a policy from a mistake in the bytes.
"""

from __future__ import annotations

from host.isolate.wasmbin import malformed
from host.model.errors import TenantError
from host.model.limits import Limits

__all__ = ["OFF", "bad_manifest", "check", "malformed", "not_offered", "over"]

# Every proposal that a module may be refused for.
OFF = frozenset(
    {
        "custom-page-sizes",
        "exceptions",
        "extended-const",
        "function-references",
        "gc",
        "memory-control",
        "memory64",
        "multi-memory",
        "relaxed-simd",
        "shared-everything",
        "stack-switching",
        "tail-call",
        "threads",
        "wide-arithmetic",
    }
)


def over(limit: str, used: int, allowed: int, advice: str, *, code: str = "too_large") -> TenantError:
    metadata = b'{"limit":"%s","used":%d,"allowed":%d}' % (limit.encode(), used, allowed)
    return TenantError("module", code, f"{limit}: {used} used, {allowed} allowed; {advice}", metadata=metadata)


def check(limits: Limits, limit: str, used: int, advice: str) -> None:
    """Raises if `used` is more than the limit of this name allows."""
    allowed: int = getattr(limits, limit)
    if used > allowed:
        raise over(limit, used, allowed, advice)


def not_offered(proposal: str, found: str) -> TenantError:
    return TenantError(
        "module",
        "malformed",
        f"the proposal {proposal!r} is not offered, and the module uses it: {found}; compile without it",
        metadata=b'{"proposal":"%s"}' % proposal.encode(),
    )


def bad_manifest(message: str) -> TenantError:
    return TenantError("module", "bad_manifest", message)
