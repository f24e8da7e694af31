"""Log lines: their shape, and that nothing secret is in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from host.telemetry.logging import LogFormat, configure_logging, get_logger, log_context
from host.telemetry.redact import redact, strip_query


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before
    structlog.reset_defaults()


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_time_and_fields() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    get_logger("actor").info("actor slept", reason="idle", ids=(1, 2))
    (line,) = _lines(out)
    assert line["event"] == "actor slept"
    assert (line["level"], line["part"], line["reason"], line["ids"]) == ("info", "actor", "idle", [1, 2])
    assert line["timestamp"].endswith("Z")


def test_a_logger_made_before_the_set_up_follows_it() -> None:
    log = get_logger()
    out = io.StringIO()
    configure_logging(stream=out, level="warning")
    log.info("too quiet")
    log.warning("heard")
    assert [line["event"] for line in _lines(out)] == ["heard"]


def test_context_is_in_every_line_of_the_block_and_gone_after_it() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    with log_context(actor_id="a1", tenant="t", ray="r"):
        get_logger().info("inside")
    get_logger().info("outside")
    inside, outside = _lines(out)
    assert (inside["actor_id"], inside["tenant"], inside["ray"]) == ("a1", "t", "r")
    assert "actor_id" not in outside


def test_a_value_that_cannot_be_encoded_does_not_lose_the_line() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    get_logger().info("odd", thing=object())
    assert "object object" in _lines(out)[0]["thing"]


def test_secrets_and_query_strings_do_not_reach_a_line() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    get_logger().info(
        "request for https://u:pw@example.org/x?token=q1#frag done",
        admin_token="q2",
        Authorization="Bearer q3",
        path="/gateway/x?rvt-input=q4",
        source_url="https://me:q5@example.org/m.js?sig=q6",
        headers=[["Cookie", "q7"], ["accept", "*/*"]],
        request={"x-rivet-token": "q8", "nested": [{"client_secret": "q9"}]},
        body=b"q10",
    )
    text = out.getvalue()
    assert not [n for n in range(1, 11) if f"q{n}" in text]
    assert "https://example.org/x done" in text
    assert "*/*" in text


@pytest.mark.parametrize("format", ["json", "console"])
def test_the_traceback_of_an_error_is_redacted_too(format: LogFormat) -> None:
    out = io.StringIO()
    configure_logging(format=format, stream=out)
    place = "https://example.org/m.js?sig=" + "hid" + "den"
    try:
        raise ValueError(f"cannot load {place}")
    except ValueError:
        get_logger().exception("load failed")
    assert "hidden" not in out.getvalue()
    assert "ValueError: cannot load https://example.org/m.js" in out.getvalue()


def test_lines_of_other_libraries_pass_the_redactor() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    logging.getLogger("somelib").warning("called %s", "https://example.org/?token=hidden")
    logging.getLogger("httpx").info("GET https://example.org/?token=hidden")
    (line,) = _lines(out)
    assert (line["part"], line["level"]) == ("somelib", "warning")
    assert "hidden" not in out.getvalue()


@pytest.mark.parametrize("failure", [BrokenPipeError(), ValueError("closed")])
def test_a_reader_that_went_away_fails_nothing(failure: Exception) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise failure

    configure_logging(stream=Gone())
    get_logger().info("into the void")
    logging.getLogger("somelib").error("into the void")


def test_setting_up_twice_writes_each_line_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)
    logging.getLogger("somelib").error("once")
    assert first.getvalue() == ""
    assert len(_lines(second)) == 1


def test_the_console_format_is_plain_text_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    configure_logging(format="console", stream=out)
    get_logger().info("actor woke", cause="alarm", token="hidden")
    assert "actor woke" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "hidden" not in out.getvalue()


def test_numbers_and_deep_values_survive_redaction() -> None:
    deep: Any = "end"
    for _ in range(20):
        deep = [deep]
    line = redact(None, "info", {"event": "e", "token_count": 3, "deep": deep, "n": 1.5})
    assert (line["token_count"], line["n"]) == (3, 1.5)
    assert "…" in repr(line["deep"])


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/a/b?c=d", "/a/b"),
        ("https://user:pw@h/p?x#y", "https://h/p"),
        ("/a#b?c", "/a"),
        ("plain", "plain"),
    ],
)
def test_a_place_is_shown_without_query_and_credentials(place: str, shown: str) -> None:
    assert strip_query(place) == shown
