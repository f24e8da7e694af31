"""Every limit of the host has a hostile case that runs into it, or a reason why it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.model.limits import LIMITS
from host.selftest.corpus import CORPUS

# Why no client and no guest of the corpus runs into these; what does is named.
EXCEPTIONS = {
    "settled_ahead": "It refuses nothing: an action further above the watermark begins later. "
    "tests/actor/test_settled_ahead.py fills it.",
    "mailbox": "It takes 4,096 callers who wait at once; tests/placement/test_service.py fills a small one.",
    "actors": "Ten thousand actors are a load test and not an attack; tests/placement fill a host of two.",
    "dead_letters": "A thousand messages that each fault three times take minutes: tests/actor keep a few.",
    "compile_memory": "A compiler that wants a gigabyte needs as much of the machine: the jail's tests allow less.",
    "compile_time": "Wall time runs out only where something else keeps the machine busy: the jail's tests set it low.",
    "compile_queue": "Sixty-four compilations that wait would hold up everything for minutes: the jail's tests do.",
    "alarm_attempts": "Six attempts with growing delays take minutes: tests/actor/test_alarms.py has virtual time.",
    "sleep_timeout": "It is how long an idle actor stays awake, so running into it is the ordinary case.",
    "start_timeout": "It takes 15 s of a start made of short turns: tests/actor/test_starts.py has virtual time.",
    "stop_grace": "It takes 15 s: tests/actor/test_sleep_cases.py has virtual time.",
    "evict_grace": "It runs only when the host evicts or stops: tests/actor have virtual time.",
    "wake_timeout": "It takes 90 s of an actor that does not start: tests/actor/test_wake_timeout.py has virtual time.",
    "session_memory": "It takes a day, and what is forgotten by then is bounded by ended_sessions.",
    "ended_sessions": "It takes ten thousand sessions of one actor: the oldest are forgotten, and nobody is refused.",
    "session_window": "It takes a minute without the client: tests/gateway/test_sessions.py has virtual time.",
    "hop_turns": "It refuses nothing: it says how often a hop's effects are committed.",
    "hop_time": "It refuses nothing: it says how often a hop's effects are committed.",
    "fetch_first_byte": "It takes a server that does not answer on the Internet: tests/outbound/test_egress.py.",
    "fetch_redirects": "It takes a server that redirects on the Internet: tests/outbound/test_egress.py has one.",
    "tenant_cpu_burst": "It is the other half of tenant_cpu, and the case of that one sets both.",
}
# These bound without an error that somebody is told: what is too much is dropped, cut, put off, or answered to the
# guest in a number.
SILENT = {
    "table_elements", "log_turn", "log_minute", "outgoing_queue", "outbox", "outbox_frames", "incoming_buffer",
    "incoming_messages", "kv_list_bytes", "name", "handler_timeout", "attempts", "alarm_spacing", "tenant_cpu",
    "compile_cpu",
}  # fmt: skip

SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ATTACKED = {name for case in CORPUS for name in (case.attacks, *case.limits)}
SHOWN = {name for case in CORPUS for name in case.limits}
NAMES = {limit.name for limit in LIMITS}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_limit_is_attacked_or_has_a_reason(name: str) -> None:
    assert (name in ATTACKED) != (name in EXCEPTIONS), name


@pytest.mark.parametrize("name", sorted(NAMES - EXCEPTIONS.keys()))
def test_every_limit_that_refuses_is_seen_to_name_used_and_allowed(name: str) -> None:
    """The cases look at the error; the runner, at the counter of the limit."""
    assert (name in SHOWN) or (name in SILENT), name


def test_the_tables_name_limits_that_there_are() -> None:
    assert EXCEPTIONS.keys() <= NAMES
    assert SILENT <= NAMES
    assert SHOWN <= NAMES


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_a_reason_is_a_sentence(name: str) -> None:
    reason = EXCEPTIONS[name]
    assert reason[0].isupper(), reason
    assert reason.endswith("."), reason
    assert len(reason.split()) >= 8, reason


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_page_on_security_says_what_each_limit_is_against(name: str) -> None:
    assert f"`{name}`" in SECURITY
