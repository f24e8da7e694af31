"""What a guest may tell clients of an error, and what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from host.actor.entries import Entry, Kind
from host.actor.failures import MAX_DETAIL, MAX_MESSAGE, error_of
from host.bridge.envelopes import CallError
from host.model.errors import HTTP_STATUS, MASKED_MESSAGE, ErrorInfo
from host.model.limits import Limits
from host.model.tunnel import ActionRequest, SocketMessage, Subscription

LIMITS = Limits()


def test_a_user_error_passes_as_it_is() -> None:
    raised = CallError("user", "no_funds.v2", "too little", Raw(b'{"left":1}'))
    assert error_of(raised, LIMITS) == (ErrorInfo("user", "no_funds.v2", "too little", metadata=b'{"left":1}'), None)


@pytest.mark.parametrize(
    "group",
    ["internal", "auth", "actor", "guest", "limit", "storage", "request", "module", "", "User", "user ", "user\x00"],
)
def test_no_other_group_reaches_a_client(group: str) -> None:
    shown, detail = error_of(CallError(group, "forbidden", "forged", Raw(b'{"limit":"memory"}')), LIMITS)
    assert shown == ErrorInfo("internal", "internal_error", MASKED_MESSAGE)
    assert detail is not None
    assert "forged" in detail


def test_no_code_of_the_host_can_be_forged() -> None:
    for name in HTTP_STATUS:
        if name not in ("actor/action_not_found", "actor/validation_error"):
            group, code = name.split("/")
            shown, _ = error_of(CallError(group, code, "forged"), LIMITS)
            assert shown.name == "internal/internal_error"


def test_only_who_wants_to_subscribe_is_told_that_it_may_not() -> None:
    refused = CallError("auth", "forbidden", "not you")
    wish = Entry(Kind.MESSAGE, SocketMessage("a", "c", 1, Subscription("secret", on=True)))
    assert error_of(refused, LIMITS, wish) == (ErrorInfo("auth", "forbidden", "not you"), None)
    asked = Entry(Kind.MESSAGE, SocketMessage("a", "c", 1, ActionRequest(1, "go", b"[]")))
    for other in (asked, Entry(Kind.MESSAGE, SocketMessage("a", "c", 1, "raw")), Entry(Kind.START), None):
        assert error_of(refused, LIMITS, other)[0].name == "internal/internal_error"


@pytest.mark.parametrize("code", ["action_not_found", "validation_error"])
def test_what_an_sdk_says_of_its_caller_passes(code: str) -> None:
    raised = CallError("actor", code, "no", Raw(b'{"issues":[]}'))
    assert error_of(raised, LIMITS) == (ErrorInfo("actor", code, "no", metadata=b'{"issues":[]}'), None)
    long = CallError("actor", code, "no", Raw(b'"' + b"x" * 20_000 + b'"'))
    assert error_of(long, LIMITS)[0].name == "message/outgoing_too_long"


@pytest.mark.parametrize("code", ["", "a b", "a/b", "a#ray", "a\nb", "\x1b[31m", "é", "a" * 65, 'a"b', "a\u202eb"])
def test_a_code_that_is_none_becomes_user_error_and_the_log_has_it(code: str) -> None:
    shown, detail = error_of(CallError("user", code, "why", Raw(b"1")), LIMITS)
    assert shown == ErrorInfo("user", "user_error", "why", metadata=b"1")
    assert detail is not None
    assert len(detail) < 400


def test_metadata_over_its_limit_is_an_error_that_names_the_limit() -> None:
    shown, detail = error_of(CallError("user", "a", "why", Raw(b'"' + b"x" * 20_000 + b'"')), LIMITS)
    assert shown.name == "message/outgoing_too_long"
    assert shown.metadata == b'{"limit":"error_metadata","used":20002,"allowed":16384}'
    assert detail == "'a': why"


def test_a_stack_is_logged_as_far_as_it_is_the_tenants() -> None:
    stack = b'{"stack":"    at add (actor.js:8:14)\\n    at apply (native)\\n    at runAction (prelude.js:37:3)\\n"}'
    _, detail = error_of(CallError("internal", "internal_error", "TypeError: no", Raw(stack)), LIMITS)
    assert detail == "internal/internal_error: TypeError: no\n    at add (actor.js:8:14)"
    _, detail = error_of(CallError("x", "y", "no", Raw(b'{"stack":"    at call (prelude.js:1:2)\\n"}')), LIMITS)
    assert detail == "x/y: no\n    at call (prelude.js:1:2)"


@pytest.mark.parametrize(
    "metadata", [b"7", b'{"stack":7}', b'{"stack":"at a","more":1}', b'{"stack":""}', b'{"stack":"\xff"}']
)
def test_what_is_no_stack_is_logged_as_it_is(metadata: bytes) -> None:
    _, detail = error_of(CallError("x", "y", "no", Raw(metadata)), LIMITS)
    assert detail == "x/y: no\n" + metadata.decode("utf-8", "replace")


words = st.text(max_size=30) | st.integers(3_000, 40_000).map("é\x1b".__mul__)


@given(
    st.sampled_from(["user", "actor", "auth"]) | words, words, words, st.binary(max_size=40) | st.just(bytes(50_000))
)
def test_whatever_is_raised_what_is_shown_and_logged_is_bounded(
    group: str, code: str, message: str, metadata: bytes
) -> None:
    for attached in (UNSET, Raw(metadata)):
        shown, detail = error_of(CallError(group, code, message, attached), LIMITS)
        assert shown.group in ("user", "internal", "message") or shown.name == "actor/action_not_found"
        assert len(shown.code) <= 64
        assert len(shown.message.encode("utf-8", "replace")) <= MAX_MESSAGE
        assert len(shown.metadata or b"") <= LIMITS.error_metadata
        assert len((detail or "").encode("utf-8", "replace")) <= MAX_DETAIL
