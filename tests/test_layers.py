"""The architecture, enforced: imports point down only, there is no cycle, and time and randomness have one door each.

The rows below are the layers of docs/architecture.md, top to bottom. Every rule is tried on a made-up offender too, so
that a rule that has stopped looking is noticed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "host"

# package -> what of `host` it may import. `top` is the composition root: cli, node, embedded, config, clock.
MAY_IMPORT: dict[str, set[str]] = {
    "selftest": {"isolate", "client", "wire", "telemetry", "model", "clock"},
    "gateway": {"placement", "modules", "outbound", "storage", "wire", "telemetry", "model"},
    "placement": {"actor", "storage", "telemetry", "model"},
    "actor": {
        "isolate",
        "static",
        "bridge",
        "capabilities",
        "cron",
        "modules",
        "storage",
        "wire",
        "telemetry",
        "model",
    },
    "modules": {"isolate", "outbound", "storage", "telemetry", "model"},
    "outbound": {"telemetry", "model"},
    "isolate": {"bridge", "model"},
    "static": {"bridge", "wire", "model"},
    "bridge": {"capabilities", "wire", "model"},
    "capabilities": {"cron", "model"},
    "cron": {"model"},
    "storage": {"wire", "telemetry", "model"},
    "client": {"wire", "model"},
    "wire": {"model"},
    "telemetry": {"model"},
    "model": set(),
}
TOP = {"cli", "node", "embedded", "config", "clock", "__init__"}

# A library and the packages that are its only home.
HOMES: dict[str, set[str]] = {
    "wasmtime": {"isolate", "selftest"},  # the self-test only turns Wasm text into bytes with it
    "aiosqlite": {"storage"},
    "sqlite3": {"storage"},
    "starlette": {"gateway"},
    "uvicorn": {"gateway"},
    "cbor2": {"wire"},
    "cronsim": {"cron"},
    "httpx": {"outbound", "client", "cli", "selftest"},
    "httpcore": {"outbound"},
    "zoneinfo": {"cron"},
    "typer": {"cli"},
    "rich": {"cli"},
    "structlog": {"telemetry", "actor"},
    "msgspec": {*MAY_IMPORT, *TOP},
}
# `model` may use the standard library and msgspec, and nothing else.
MODEL_EXTRA = {"msgspec"}

PURE = [
    *sorted((HOST / "model").rglob("*.py")),
    *sorted((HOST / "wire").rglob("*.py")),
    *sorted((HOST / "capabilities").rglob("*.py")),
    *sorted((HOST / "cron").rglob("*.py")),
    HOST / "bridge" / "envelopes.py",
    *(HOST / "actor" / f"{name}.py" for name in ("lifecycle", "backoff", "watermark", "lines", "failures")),
]
IMPURE_MODULES = {"time", "random", "secrets", "asyncio", "anyio", "structlog", "logging", "socket", "threading", "os"}

# The one door to time, and the thread that counts real time for guests.
TIME_ALLOWED = {HOST / "clock.py"}
TIME_CALLS = re.compile(
    r"\b(time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep)"
    r"|anyio\.(sleep|sleep_until|fail_after|move_on_after|current_time)|asyncio\.(sleep|wait_for|timeout))\("
)
TIME_EXCEPTIONS: dict[str, str] = {
    "node.py": "bounds the drain of a shutdown, in real time whatever the injected clock says",
    "cli": "commands live in real time",
    "client": "a client lives in its caller's time",
}


def package_of(path: Path) -> str:
    inside = path.relative_to(HOST)
    return inside.parts[0].removesuffix(".py")


def imports_of(source: str) -> Iterator[str]:
    """Every module named by an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def files() -> list[Path]:
    return sorted(HOST.rglob("*.py"))


def layer_errors(package: str, source: str) -> list[str]:
    if package in TOP:
        return []
    found = []
    for name in imports_of(source):
        parts = name.split(".")
        if parts[0] != "host" or len(parts) == 1:
            continue
        if parts[1] != package and parts[1] not in MAY_IMPORT[package]:
            found.append(f"{package} imports {name}")
    return found


def home_errors(package: str, source: str) -> list[str]:
    found = []
    for name in imports_of(source):
        library = name.split(".")[0]
        if package not in HOMES.get(library, {package}):
            found.append(f"{package} imports {library}")
    return found


def test_every_package_is_in_the_table() -> None:
    assert {package_of(path) for path in files()} == {*MAY_IMPORT, *TOP}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    source = path.read_text()
    assert layer_errors(package_of(path), source) == []
    assert home_errors(package_of(path), source) == []


def test_the_rules_notice_an_offender() -> None:
    assert layer_errors("storage", "def f():\n    from host.actor import actor\n") == ["storage imports host.actor"]
    assert home_errors("actor", "import wasmtime\n") == ["actor imports wasmtime"]
    assert TIME_CALLS.search("await anyio.sleep(1)")
    assert find_cycle({"a": {"b"}, "b": {"a"}}) == ["a", "b", "a"]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_of(source: str, names: set[str]) -> Iterator[str]:
    """The modules of ours that an import loads; `from package import module` loads that module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in names else node.module


def test_there_is_no_import_cycle() -> None:
    names = {module_name(path) for path in files()}
    graph = {module_name(path): set(modules_of(path.read_text(), names)) - {module_name(path)} for path in files()}
    assert find_cycle(graph) == []


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for following in sorted(graph[name]):
            cycle = visit(following, [*trail, name])
            if cycle:
                return cycle
        done.add(name)
        return []

    for name in sorted(graph):
        cycle = visit(name, [])
        if cycle:
            return cycle
    return []


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_modules_know_no_clock_no_randomness_and_no_io(path: Path) -> None:
    assert [name for name in imports_of(path.read_text()) if name.split(".")[0] in IMPURE_MODULES] == []


def test_time_has_one_door() -> None:
    found = []
    for path in files():
        inside = path.relative_to(HOST)
        if path in TIME_ALLOWED or str(inside) in TIME_EXCEPTIONS or inside.parts[0] in TIME_EXCEPTIONS:
            continue
        found += [
            f"{inside}: {match.group()}"
            for line in path.read_text().splitlines()
            for match in TIME_CALLS.finditer(line)
        ]
    assert found == []


def test_the_model_needs_nothing_but_the_standard_library_and_msgspec() -> None:
    for path in sorted((HOST / "model").rglob("*.py")):
        for name in imports_of(path.read_text()):
            library = name.split(".")[0]
            assert library in sys.stdlib_module_names or library in MODEL_EXTRA or library == "host", (path, name)
