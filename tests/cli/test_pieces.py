"""The parts of the command line that need no host."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import anyio
import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

from host.cli.actors import argument, moment
from host.cli.connect import Lines
from host.cli.connect import shown as shown_frame
from host.cli.demo_site import serving_module
from host.cli.failures import lines_of
from host.cli.main import app
from host.cli.module_view import show_module
from host.cli.progress import ShownProgress
from host.cli.snapshot_view import show_snapshot
from host.client.answers import error_of
from host.client.records import ModuleDetails
from host.model.definitions import Manifest
from host.model.errors import CallerError, InternalError
from host.model.report import ExportInfo, ImportInfo, MemoryInfo, ModuleReport, SectionInfo, TableInfo
from host.model.snapshot import ActorSnapshot

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ('"5"', "5"),
        ("hello", "hello"),
        ('{"a": [1]}', {"a": [1]}),
        ("null", None),
        ("", ""),
        ("[1", "[1"),
        ("\udcff", "\udcff"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
async def test_an_argument_is_json_or_else_text(text: str, value: Any) -> None:
    assert argument(text) == value


async def test_errors_become_lines_without_stack_traces() -> None:
    inner = CallerError("actor", "not_found", "there is none")
    group = ExceptionGroup("g", [inner, ExceptionGroup("h", [inner, InternalError("the detail")])])
    assert lines_of(group) == ["actor/not_found: there is none", "internal/internal_error: the detail"]
    assert lines_of(OSError(2, "No such file", "x.js")) == ["system/os_error: No such file (x.js)"]
    assert lines_of(ValueError("odd")) == ["internal/internal_error: ValueError: odd"]


async def test_a_masked_error_comes_with_the_ray_under_which_the_host_logged_it() -> None:
    body = b'{"group":"internal","code":"internal_error","message":"An internal error occurred"}'
    masked = error_of(500, body, {"x-rivet-ray-id": "00ab12"})
    assert lines_of(masked) == [
        "internal/internal_error: An internal error occurred (ray 00ab12: the host's log says more)"
    ]
    for odd in ("", "\x1b[31m", "a b", "x" * 65):
        assert lines_of(error_of(500, body, {"x-rivet-ray-id": odd}))[0].endswith("error occurred")
    clear = error_of(404, b'{"group":"actor","code":"not_found","message":"m"}', {"x-rivet-ray-id": "00ab12"})
    assert (lines_of(clear), clear.ray) == (["actor/not_found: m"], "00ab12")


@pytest.mark.parametrize(
    ("name", "message", "said"),
    [
        ("actor/start_failed", "it broke (internal/internal_error: An internal error occurred)", "`dormice deploys`"),
        ("actor/start_failed", "it broke (user/closed: closed on Mondays)", ""),
        ("auth/unauthenticated", "a token is needed", "DORMICE_TOKEN"),
        ("auth/forbidden", "this token does not allow it", "--namespace"),
        ("actor/not_found", "there is none", ""),
    ],
)
async def test_an_error_says_where_its_cause_is_told_or_how_one_gets_in(name: str, message: str, said: str) -> None:
    group, _, code = name.partition("/")
    (line,) = lines_of(CallerError(group, code, message))
    assert line.startswith(f"{name}: {message}")
    assert (said in line) if said else line.endswith(message)


async def test_a_moment_is_utc_or_a_dash() -> None:
    assert moment(0) == "1970-01-01 00:00:00"
    assert moment(None) == "—"


async def test_talking_to_a_host_does_not_load_the_engine() -> None:
    check = "import sys, host.cli.main; sys.exit(bool({'wasmtime', 'starlette', 'aiosqlite'} & set(sys.modules)))"
    process = await anyio.run_process([sys.executable, "-c", check], check=False, stderr=subprocess.PIPE)
    assert process.returncode == 0, process.stderr.decode()


def feed(*parts: bytes) -> int:
    """A descriptor that gives these bytes and ends."""
    reader, writer = os.pipe()
    for part in parts:
        os.write(writer, part)
    os.close(writer)
    return reader


async def test_lines_come_whole_and_the_end_is_told() -> None:
    fd = feed(b"one\ntwo\r\n", b"\nthr", b"ee\xff")
    lines = Lines(fd)
    with anyio.fail_after(5):
        assert [await lines.next() for _ in range(5)] == ["one", "two", "", "three\ufffd", None]
    os.close(fd)


async def test_a_terminal_that_went_away_is_the_end() -> None:
    with anyio.fail_after(5):
        assert await Lines(-1).next() is None


async def test_the_demos_site_serves_the_module_and_counts() -> None:
    def load(path: str) -> Callable[[], tuple[bytes, str]]:
        def get() -> tuple[bytes, str]:
            with urlopen(path, timeout=5) as answer:
                return answer.read(), answer.headers["content-type"]

        return get

    with serving_module("m.js", b"source") as site:
        got = await anyio.to_thread.run_sync(load(site.url))
        assert got == (b"source", "text/javascript")
        with pytest.raises(HTTPError, match="404") as caught:
            await anyio.to_thread.run_sync(load(site.url + ".map"))
        caught.value.close()
        assert site.hits == 1


async def test_progress_is_a_spinner_on_a_terminal_and_quiet_when_done() -> None:
    out = io.StringIO()
    progress = ShownProgress(Console(file=out, force_terminal=True, width=60))
    progress("compiling a", done=False)
    progress("compiling b", done=False)
    progress("compiling a", done=True)
    progress("compiling b", done=True)
    assert "compiling b" in out.getvalue()
    assert progress._status is None


def snapshot() -> ActorSnapshot:
    document = {
        "actor_id": "a" * 32, "namespace": "default", "name": "room", "key": ["x", "y/z"], "generation": 1, "epoch": 7,
        "lifecycle": "asleep", "module": {"digest": "sha256:" + "1" * 64, "definition": "room", "version": 3},
        "created_at": 0, "started_at": 0, "slept_at": None, "wake_at": 1000, "attempt": 2, "retry_at": 5000,
        "last_error": {"group": "guest", "code": "trap", "message": "[bold]it[/bold] trapped"},
        "connections": [
            {"conn_id": "c" * 32, "path": "/[red]ada", "msg_index": 12, "settled_ahead": [14], "hibernatable": True,
             "opened_at": 0, "last_seen_at": 0, "tags": ["t1"], "state": {"n": "s" * 99}, "params": None}
        ],
        "alarms": [{"alarm": "al-1", "scheduled_at": 0, "due_at": 1000, "attempt": 1, "payload": {"p": 1}}],
        "crons": [
            {"name": "[red]tick", "kind": "every", "expression": None, "time_zone": None, "interval": 9000,
             "scheduled_at": 2000, "due_at": 2000, "attempt": 0, "payload": {"action": "go", "args": []}, "runs": [
                {"scheduled_at": 1000, "started_at": 1000, "finished_at": 1000, "result": result, "attempt": 1,
                 "error": error, "number": 3}
                for result, error in (("ok", None), ("error", "user/no"), ("skipped", None), ("ok", None))
             ]},
            {"name": "daily", "kind": "cron", "expression": "0 3 * * *", "time_zone": "Asia/Kolkata", "interval": None,
             "scheduled_at": 0, "due_at": 0, "attempt": 2, "payload": {"action": "go", "args": []}, "runs": []},
        ],
        "kv": {"keys": 4, "bytes": 99}, "state_bytes": 5,
        "dead_letters": [{"kind": "message", "ref": "conn", "index": 9, "reason": "guest/trap", "message": "m",
                          "attempts": 3, "at": 0}],
    }  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(document), type=ActorSnapshot)


def test_a_module_is_readable_and_its_names_cannot_act_on_a_terminal() -> None:
    manifest = Manifest(abi=1, codec="framed", name="evil\x1b[2J")
    report = ModuleReport(
        digest="sha256:ab", kind="wasm", size=12_345, manifest=manifest, capabilities=("kv", "log"),
        imports=(ImportInfo("isolate", "host_call", "(i32) -> (i32)"),),
        exports=(ExportInfo("[red]x\x1b[31m", "func", "() -> ()"),), sections=(SectionInfo("custom \x07", 77),),
        memories=(MemoryInfo(2),), tables=(TableInfo("funcref", 1, 9),), functions=1_024, largest_body=2_048,
        start=True, proposals=("simd",),
    )  # fmt: skip
    module = ModuleDetails("sha256:ab", "wasm", 12_345, manifest=manifest, stored_at=0, report=report)
    out = io.StringIO()
    show_module(Console(file=out, width=160), module)
    text = out.getvalue()
    for shown in (
        "wasm module", "12,345 bytes", "ABI 1, codec framed", "kv, log", "2 pages, no maximum", "1 funcref, at most 9",
        "1,024", "2,048 bytes", "start function", "simd", "isolate.host_call", "(i32) -> (i32)", "[red]x\\x1b[31m",
        "evil\\x1b", "custom \\x07",
    ):  # fmt: skip
        assert shown in text
    assert "\x1b[2J" not in text
    old = io.StringIO()
    show_module(Console(file=old, width=160), replace(module, report=None, source_url="https://example.com/m.wasm"))
    assert "no report" in old.getvalue()
    assert "https://example.com/m.wasm" in old.getvalue()


async def test_a_snapshot_is_readable_and_nothing_of_a_guest_is_markup() -> None:
    out = io.StringIO()
    show_snapshot(Console(file=out, width=160), snapshot())
    text = out.getvalue()
    for shown in (
        "room x/y\\/z", "asleep", "1, 7", "room version 3", "4 keys, 99 bytes", "guest/trap: [bold]it[/bold]",
        "again at 1970-01-01 00:00:05", "/[red]ada", "12", "14", "t1", "al-1", '{"p":1}', "guest/trap", "…",
        "[red]tick", "every 9000 ms", "ok, user/no, 3 skipped", "0 3 * * * Asia/Kolkata",
    ):  # fmt: skip
        assert shown in text
    assert "s" * 61 not in text


def test_a_frame_does_not_steer_the_terminal_and_is_left_alone_in_a_pipe() -> None:
    frame = "two\nlines\x1b[2J\x9b\u202e"
    assert shown_frame(frame, terminal=True) == "two\nlines\\x1b[2J\\x9b\\u202e"
    assert shown_frame(frame, terminal=False) == frame
    assert shown_frame(b"\x1b\x00", terminal=True) == "<2 bytes> 1b00"


@pytest.mark.parametrize("flag", ["--url-hosts", "--egress-hosts"])
def test_a_host_does_not_start_with_a_list_of_hosts_that_can_never_match(tmp_path: Path, flag: str) -> None:
    told = CliRunner().invoke(app, ["serve", "--dev", "--data-dir", str(tmp_path / "data"), flag, "https://x"])
    assert told.exit_code == 1
    assert "hosts: 'https://x' is no host" in told.output
    assert not (tmp_path / "data").exists()
