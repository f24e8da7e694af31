"""The JavaScript engine, from pinned sources to a pinned output.

Inputs: the C sources of QuickJS-NG out of one source distribution (its sha256 is fixed here), the C files in
`isolate_sdk/engine`, the flags below, and the version of the compiler. Output: one Wasm module whose sha256 is fixed in
`engine.sha256`. It is bit-identical wherever it is built, so a module that is not the pinned one is refused.

What was built is kept in the user's cache directory under the hash of the inputs, because the directory in which a
package is built is thrown away; with a hit neither the network nor the compiler is touched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from isolate_sdk.zig import WASM_CPU, cache_root, zig_cc

__all__ = ["BuildError", "build_engine", "input_hash", "pinned_digest", "write_pin"]

HERE: Final = Path(__file__).parent.parent / "engine"
OUTPUT: Final = HERE / "engine.wasm"
PIN: Final = HERE / "engine.sha256"

REQUIREMENT: Final = "quickjs-ng==0.17.0.2"
SDIST: Final = "quickjs_ng-0.17.0.2.tar.gz"
SDIST_SHA256: Final = "43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef"
UPSTREAM: Final = "quickjs_ng-0.17.0.2/upstream-quickjs/"
COMPILER: Final = "ziglang==0.17.0"

#: The engine itself is included by engine.c; these three are compiled beside it.
UNITS: Final = ("dtoa.c", "libregexp.c", "libunicode.c")

#: Large enough for every file of the upstream sources, small enough to refuse an archive that unpacks without end.
FILE_MAX: Final = 8 << 20

DOWNLOAD_TIMEOUT_S: Final = 300

FLAGS: Final = (
    "-target", "wasm32-wasi", "-mexec-model=reactor", "-O2", f"-mcpu={WASM_CPU}", "-Iquickjs", "-D_GNU_SOURCE",
    "-DNDEBUG", "-fno-stack-protector", "-fno-sanitize=undefined", "-w", "-ffile-prefix-map=.=",
    "-Wl,-z,stack-size=1048576", "-Wl,--export=__stack_pointer", "-lm", "-s",
)  # fmt: skip

Progress = Callable[[str], None]


class BuildError(RuntimeError):
    """The engine cannot be built; the message says what to do."""


def _say(line: str) -> None:
    print(f"dormice: {line}", file=sys.stderr, flush=True)


def _sources() -> list[Path]:
    return sorted([*HERE.glob("*.c"), *HERE.glob("*.h")])


def input_hash() -> str:
    """sha256 over everything that determines the output."""
    digest = hashlib.sha256()
    for part in (SDIST_SHA256, COMPILER, *FLAGS, *UNITS):
        digest.update(part.encode() + b"\0")
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def pinned_digest() -> str:
    """The sha256 that the engine must have."""
    return PIN.read_text(encoding="ascii").split()[0]


def write_pin(digest: str) -> None:
    PIN.write_text(f"{digest}  {OUTPUT.name}\n", encoding="ascii")


def _download(into: Path, say: Progress) -> Path:
    say(f"fetching the sources of the JavaScript engine ({REQUIREMENT})")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-binary", ":all:", "--dest", str(into), REQUIREMENT,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip did not fetch {REQUIREMENT} within {DOWNLOAD_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise BuildError(f"pip could not fetch {REQUIREMENT}:\n{done.stderr.strip()}")
    return into / SDIST


def _unpack(archive: Path, into: Path) -> None:
    """Takes the C files of the upstream directory by their plain names; nothing of the archive chooses a path."""
    data = archive.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SDIST_SHA256:
        raise BuildError(f"{archive.name} has sha256 {found}, expected {SDIST_SHA256}: not building from it")
    into.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.removeprefix(UPSTREAM)
            if name == member.name or "/" in name or not name.endswith((".c", ".h")):
                continue
            stream = tar.extractfile(member) if member.isfile() and member.size <= FILE_MAX else None
            if stream is None:
                raise BuildError(f"{archive.name} holds {member.name}, which is not a plain file of a sane size")
            (into / name).write_bytes(stream.read())


def _compile(archive: Path, work: Path, say: Progress) -> bytes:
    """Compiles in `work` with relative paths only, so that its name cannot get into the output."""
    _unpack(archive, work / "quickjs")
    for path in _sources():
        shutil.copyfile(path, work / path.name)
    say("compiling the JavaScript engine (about a minute, once)")
    units = [f"quickjs/{name}" for name in UNITS]
    zig_cc([*FLAGS, "engine.c", *units, "-o", "engine.wasm"], cwd=work, cache=work / "zig")
    return (work / "engine.wasm").read_bytes()


def _place(data: bytes, path: Path) -> None:
    """Replaces `path` in one step: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def build_engine(output: Path = OUTPUT, *, pin: bool = False, sdist: Path | None = None, say: Progress = _say) -> str:
    """Puts the engine at `output` and returns its sha256.

    `pin` writes the digest of what was built into the tree instead of comparing it; `sdist` is a copy of the source
    distribution to use in place of a download.
    """
    expected = None if pin else pinned_digest()
    cached = cache_root() / "engine" / f"{input_hash()}.wasm"
    for known in (output, cached):
        if expected and known.is_file():
            data = known.read_bytes()
            if hashlib.sha256(data).hexdigest() == expected:
                if known != output:
                    say(f"using the JavaScript engine of {cached}")
                    _place(data, output)
                return expected
    with tempfile.TemporaryDirectory(prefix="dormice-engine-") as folder:
        work = Path(folder)
        data = _compile(sdist or _download(work, say), work, say)
    digest = hashlib.sha256(data).hexdigest()
    if expected and digest != expected:
        raise BuildError(
            f"the engine that was built has sha256 {digest}, expected {expected}; if its sources were changed on "
            "purpose, run `python -m isolate_sdk.build --pin`"
        )
    if pin:
        write_pin(digest)
    _place(data, cached)
    _place(data, output)
    say(f"built the JavaScript engine: {len(data):,} bytes, sha256 {digest}")
    return digest
