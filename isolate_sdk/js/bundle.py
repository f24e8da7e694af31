"""The prelude: the JavaScript SDK that the engine runs once, before any tenant code.

The files are concatenated in the order of `FILES` into one function of the engine's native object. There are no globals
to remove afterwards: what the files share is local to that function, and the engine keeps its result out of reach.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["FILES", "prelude"]

FILES: Final = (
    "primordials.js",
    "errors.js",
    "host.js",
    "log.js",
    "kv.js",
    "alarms.js",
    "cron.js",
    "events.js",
    "timers.js",
    "calls.js",
    "client.js",
    "holds.js",
    "crypto.js",
    "clone.js",
    "url_params.js",
    "url_host.js",
    "url.js",
    "headers.js",
    "streams.js",
    "blob.js",
    "body.js",
    "http.js",
    "fetch.js",
    "track.js",
    "schemas.js",
    "deadlines.js",
    "state.js",
    "conns.js",
    "sockets.js",
    "fields.js",
    "actor.js",
    "registry.js",
    "context.js",
    "auth.js",
    "connect.js",
    "settle.js",
    "start.js",
    "dispatch.js",
)

_HEAD: Final = "(function (native) {\n'use strict';\n"
_TAIL: Final = "\nreturn { enter, finish, bind, describe, rejected, hostError, sdk };\n})\n"


@cache
def prelude() -> str:
    """The source text of the prelude."""
    folder = Path(__file__).parent / "prelude"
    return _HEAD + "".join((folder / name).read_text(encoding="utf-8") for name in FILES) + _TAIL
