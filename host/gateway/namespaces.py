"""Namespaces: the tenant as the APIs spell it. One is created by its first use. Pure."""

from __future__ import annotations

import re

from host.model.errors import CallerError

__all__ = ["DEFAULT_NAMESPACE", "namespace_of"]

DEFAULT_NAMESPACE = "default"
_NAMESPACE = re.compile(r"[a-z0-9-]{1,64}\Z")


def namespace_of(given: str | None) -> str:
    name = DEFAULT_NAMESPACE if given is None else given
    if not _NAMESPACE.match(name):
        raise CallerError("request", "invalid", "a namespace is 1 to 64 of a-z, 0-9 and '-'")
    return name
