"""TypeScript for `dormice deploy`: esbuild makes one JavaScript module of it, as the host takes them.

esbuild is the author's own, from npm: the one in a `node_modules/.bin` at or above the file, else the one in PATH. It
strips the types and bundles what the file imports; the actor SDK stays an import, for the host resolves it in the
isolate. What the host says about a place in the bundle is said about the place in the author's file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

import msgspec

from host.cli.source_map import SourceMap, read_source_map
from host.model.errors import CallerError, DormiceError, TenantError

__all__ = ["SUFFIXES", "Bundle", "build", "esbuild_for"]

SUFFIXES = (".ts", ".mts", ".tsx")
# What the isolate resolves itself; esbuild counts `rivetkit/…` to `rivetkit`.
EXTERNAL = ("rivetkit", "isolate")
# What QuickJS-NG takes as it is; newer syntax is rewritten.
TARGET = "es2023"
# Where npm ran no install scripts, esbuild sits behind a script, which adds its own stack to what esbuild says.
WRAPPER = "\nnode:"


class Bundle:
    """`code` is the module; `told` says an error of the host in the words of the author's files."""

    def __init__(self, code: bytes, places: SourceMap, folder: Path) -> None:
        self.code = code
        self._places = places
        self._folder = folder

    def told(self, error: DormiceError) -> DormiceError:
        """The same error, with the place in the source behind the message if it has one of this bundle."""
        if error.group != "module" or error.metadata is None:
            return error
        try:
            place = msgspec.json.decode(error.metadata, type=dict[str, int])
        except msgspec.MsgspecError:
            return error
        found = self._places.original(place.get("line", 0), place.get("column", 1))
        if found is None:
            return error
        source, line, column = found
        path = os.path.relpath((self._folder / source).resolve())
        return TenantError(
            error.group, error.code, f"{error.message} = {path}:{line}:{column}", metadata=error.metadata
        )


def esbuild_for(file: Path) -> str | None:
    """The program for a file, as npm lays it down; None if there is none."""
    for folder in file.resolve().parents:
        local = folder / "node_modules" / ".bin" / "esbuild"
        if os.access(local, os.X_OK):
            return str(local)
    return shutil.which("esbuild")


def build(file: Path) -> Bundle:
    """Raises a CallerError without esbuild, a TenantError with what esbuild says of the source."""
    program = esbuild_for(file)
    if program is None:
        raise CallerError(
            "module",
            "unsupported_type",
            f"{file.name} is TypeScript, and nothing here makes JavaScript of it: run `npm install --save-dev esbuild` "
            "in its folder or one above it (or put esbuild into PATH), or deploy a .js file",
        )
    with TemporaryDirectory(prefix="dormice-") as path:
        folder = Path(os.path.realpath(path))
        made = folder / "module.js"
        command = [
            *(program, os.path.realpath(file), "--bundle", "--format=esm", "--platform=neutral", f"--target={TARGET}"),
            *("--main-fields=module,main", "--charset=utf8", "--sourcemap=external", "--log-level=warning"),
            *(f"--external:{name}" for name in EXTERNAL),
            f"--outfile={made}",
        ]
        done = subprocess.run(command, check=False, stdin=DEVNULL, capture_output=True)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").partition(WRAPPER)[0].strip()
            raise TenantError("module", "js_syntax", f"esbuild does not take {file.name}:\n{said or done.returncode}")
        return Bundle(made.read_bytes(), read_source_map(made.with_name("module.js.map").read_bytes()), folder)
