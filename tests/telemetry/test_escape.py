"""One event is one line, and nothing in it steers a terminal, whatever strangers write."""

from __future__ import annotations

import io
import json
import logging as stdlib_logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.telemetry.escape import escape_json, printable
from host.telemetry.logging import LogFormat, configure_logging, get_logger

FORGED = "\n2026-01-01T00:00:00Z [critical ] the host is on fire"
STEERING = [
    "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "a\rb", "\x08\x08\x08", "\x7f", "\x00", "a\x85b", "a\u2028b", "a\u2029b",
    "\u202egpj.exe", "\u2066x\u2069", "\u200b", "\ufeff", "\U000e0041", "\ud83d", "\udc80\ud800", FORGED,
]  # fmt: skip


@pytest.fixture(autouse=True)
def log_set_up() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    root = stdlib_logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__name__ == "_ToStructlog":
            root.removeHandler(handler)


def written(format: LogFormat, text: str) -> str:
    out = io.StringIO()
    configure_logging(format=format, stream=out)
    get_logger().info("guest log", text=text, listed=[text], nested={"a": text})
    return out.getvalue()


def steers(text: str) -> bool:
    """As a terminal or a reader of lines sees it."""
    return any(char != "\n" and not char.isprintable() for char in text) or len(text.splitlines()) != 1


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_text_of_strangers_stays_text(format: LogFormat, text: str) -> None:
    assert not steers(written(format, text))


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_a_json_line_still_means_the_same(text: str) -> None:
    assert json.loads(written("json", text))["text"] == text


@pytest.mark.parametrize("format", ["json", "console"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters()))
def test_whatever_is_logged_is_one_line(format: LogFormat, text: str) -> None:
    line = written(format, text)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in line[:-1])
    if format == "json":
        assert json.loads(line)["text"] == text


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_error_that_quotes_a_stranger_forges_no_line(format: LogFormat) -> None:
    out = io.StringIO()
    configure_logging(format=format, stream=out)
    try:
        raise ValueError("\x1b[31m" + FORGED)
    except ValueError:
        get_logger().exception("it broke")
    stdlib_logging.getLogger("some.library").error("said %s", "\x1b[31m" + FORGED)
    text = out.getvalue()
    assert "\x1b" not in text
    assert not any(line.startswith("2026-01-01T00:00:00Z [critical") for line in text.splitlines())
    assert "the host is on fire" in text


def test_ordinary_text_is_left_alone() -> None:
    for text in ("plain", "caf\xe9 \u4e2d\u6587 \U0001f600", "C:\\new", ""):
        assert printable(text) == text
        assert escape_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)
    assert printable("a\tb\nc\x1b[0m\x9b\u202e") == "a\\tb\\nc\\x1b[0m\\x9b\\u202e"
