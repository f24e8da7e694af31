"""What goes into the jail and what comes out: plain data, encoded as MessagePack.

A new kind of job is a struct here and a function in `host.modules.jail.work`. What comes out was written by a process
that a hostile module may have taken over, so the host decodes it strictly, and believes the zygote alone about how a
child ended. The machine code in it has to be taken as it is: the jail keeps a compiler that hangs, swells or crashes
away from the host, and not the code of a compiler that was made to lie.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from host.isolate.abi import Kind
from host.isolate.config import Profile
from host.model.errors import DormiceError, ErrorInfo, error_from_info
from host.model.report import ModuleReport

__all__ = [
    "Admit",
    "Answer",
    "Broken",
    "Budget",
    "Compile",
    "Done",
    "Ended",
    "Exhausted",
    "IMAGE_PROFILE",
    "Image",
    "Job",
    "Ready",
    "Refused",
    "decode_answer",
    "decode_job",
    "encode",
    "refused",
]


# The only one whose guests can run behind the filter of system calls and within the limit of address space.
IMAGE_PROFILE: Profile = "bare"


class Budget(Struct, frozen=True):
    """What one job may use. `memory` is address space beyond what the child begins with."""

    cpu_ms: int
    memory: int


class Compile(Struct, frozen=True, tag="compile"):
    """Machine code for a module as it is, with the ABI of `kind`."""

    wasm: bytes
    profile: Profile
    kind: Kind = "wasm"


class Admit(Struct, frozen=True, tag="admit"):
    """A tenant's module: surveyed, rewritten, compiled. `limits` are those in force, by name."""

    wasm: bytes
    profile: Profile
    limits: dict[str, int]


class Image(Struct, frozen=True, tag="image"):
    """The deployment image of a js module: its top level is run in the engine, and what is in memory then is compiled
    with the engine. `engine` is the engine's own image, `engine_code` the same, compiled for `IMAGE_PROFILE` by this
    host. `limits` are those in force, by name."""

    engine: bytes
    engine_code: bytes
    source: bytes
    digest: bytes
    limits: dict[str, int]
    profile: Profile


class Done(Struct, frozen=True, tag="done"):
    """`report` is that of an admission, `load_ms` the time of an image's top level."""

    artifact: bytes
    report: ModuleReport | None = None
    load_ms: int = 0


class Refused(Struct, frozen=True, tag="refused"):
    """The tenant's error. `detail` is for the log."""

    error: ErrorInfo
    detail: str | None = None

    def exception(self) -> DormiceError:
        error = error_from_info(self.error)
        error.detail = self.detail
        return error


class Exhausted(Struct, frozen=True, tag="exhausted"):
    """The child saw the end of its memory itself."""

    where: str


class Broken(Struct, frozen=True, tag="broken"):
    """An error that nobody raised on purpose."""

    traceback: str


class Ready(Struct, frozen=True):
    """The zygote's first word: it can take jobs, and this is what the machine did not let it have."""

    missing: tuple[str, ...]


class Ended(Struct, frozen=True):
    """The zygote's last word on a child. `said` is what it wrote on its standard error."""

    code: int
    signal: int
    cpu_ms: int
    peak: int
    said: str


Job = Compile | Admit | Image
Answer = Done | Refused | Exhausted | Broken

_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_jobs: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)

encode = msgspec.msgpack.Encoder().encode


def decode_job(data: bytes) -> Job:
    return _jobs.decode(data)


def decode_answer(data: bytes | bytearray) -> Answer:
    """Raises `msgspec.DecodeError` for what is none."""
    return _answers.decode(data)


def refused(error: DormiceError) -> Refused:
    return Refused(error.info, error.detail)
