"""What a jailed child does: one job, one answer. Runs after `confine_child`, in a process that ends with it.

Nothing can be opened any more, so every module that a job needs is imported here, at the top, by the zygote. Machine
code is made without the threads of a parallel compilation (one core per job); the artifact is the same to the byte.
"""

from __future__ import annotations

import traceback
from contextlib import closing

from host.isolate.abi import Kind
from host.isolate.config import Profile, require_wasmtime
from host.isolate.engine import Engine
from host.isolate.guest_thread import run_on_guest_thread
from host.isolate.module_image import build_module_image
from host.model.errors import DormiceError
from host.model.limits import Limits
from host.modules.admission import rewrite, survey
from host.modules.jail.jobs import IMAGE_PROFILE, Answer, Broken, Compile, Done, Exhausted, Image, Job, refused

__all__ = ["perform"]

# How the engine says that the system gave it no memory; the number is ENOMEM.
_NO_MEMORY = ("os error 12", "Cannot allocate memory")

# Remembered from here on: it is read from a file.
require_wasmtime()


def perform(job: Job) -> Answer:
    """Never raises: whatever goes wrong is an answer."""
    try:
        return _done(job)
    except MemoryError:
        return Exhausted("python")
    except DormiceError as error:
        said = f"{error.message} {error.detail or ''}"
        return Exhausted(said[:500]) if any(sign in said for sign in _NO_MEMORY) else refused(error)
    except Exception:  # noqa: BLE001 - the host logs it; the child ends either way
        return Broken(traceback.format_exc()[-8_000:])


def _done(job: Job) -> Done:
    if isinstance(job, Compile):
        return Done(_machine_code(job.wasm, job.profile, job.kind))
    if isinstance(job, Image):
        return _image(job)
    limits = Limits(**job.limits)
    report = survey(job.wasm, limits)
    return Done(_machine_code(rewrite(job.wasm, limits), job.profile, "wasm"), report)


def _image(job: Image) -> Done:
    with closing(_engine(IMAGE_PROFILE)) as engine:
        code = engine.deserialize(job.engine_code)
        code.check_abi("js")
        made = run_on_guest_thread(
            lambda: build_module_image(code, job.engine, job.source, job.digest, Limits(**job.limits))
        )
    return Done(_machine_code(made.wasm, job.profile, "js"), load_ms=made.load_ms)


def _machine_code(wasm: bytes, profile: Profile, kind: Kind) -> bytes:
    with closing(_engine(profile)) as engine:
        code = engine.compile(wasm)
        code.check_abi(kind)
        return engine.serialize(code)


def _engine(profile: Profile) -> Engine:
    """To be closed before it is garbage: its heartbeat would go on beating what is freed."""
    return Engine(profile=profile, parallel=False)
