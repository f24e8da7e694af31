"""Which guard keeps which invariant, what replaces it, and which tests have to notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.mutants import lies

__all__ = ["INVARIANTS", "MUTANTS", "Mutant", "mutant_named"]

INVARIANTS = tuple(f"D{number}" for number in range(1, 11))

D = "tests/actor/test_invariants.py::"
AHEAD = "tests/actor/test_settled_ahead.py::"
LOSS = "tests/actor/test_isolate_loss.py::"
STALE = "tests/actor/test_stale_starts.py::"
CONNECT = "tests/actor/test_connect.py::"
LOSSES = "tests/actor/test_connect_losses.py::"
CONNECTION = "tests/gateway/test_connection.py::"
CALLS = "tests/actor/test_actor_calls.py::"
FETCHES = "tests/actor/test_fetches.py::"
LETTERS = "tests/gateway/test_dead_letters.py::"
MATRIX = "tests/gateway/test_auth_matrix.py::"
TOKENS = "tests/gateway/test_tokens.py::"
HOOK = "tests/actor/test_auth_hook.py::"
STORAGE = "tests/storage/test_conformance.py::"
D10 = D + "test_d10_nothing_is_dropped_without_a_counter_and_a_log_line"


@dataclass(frozen=True)
class Mutant:
    """`guard` is module:qualified name; `lie` takes the guard and gives its stand-in; each of `tests` has to fail."""

    invariant: str
    guard: str
    lie: Callable[[Callable[..., Any]], Callable[..., Any]]
    tests: tuple[str, ...]
    what: str

    @property
    def name(self) -> str:
        return f"{self.invariant} {self.guard.partition(':')[2]} {self.what}"


MUTANTS = (
    Mutant(
        "D1",
        "host.actor.gates:release_after",
        lies.release_first,
        (
            D + "test_d1_no_output_leaves_before_the_commit_of_its_turn",
            D + "test_d1_a_deferred_call_starts_only_after_the_commit_of_its_turn",
        ),
        "releases first",
    ),
    Mutant(
        "D1",
        "host.actor.gates:release_after",
        lies.release_first,
        (
            CALLS + "test_d1_a_call_starts_after_the_commit_of_its_turn_and_not_before",
            FETCHES + "test_d1_a_request_leaves_after_the_commit_of_its_turn",
        ),
        "calls first",
    ),
    Mutant(
        "D6",
        "host.actor.outgoing:OutgoingCalls.close",
        lies.nothing,
        (
            CALLS + "test_d6_a_fault_cuts_off_the_calls_of_its_isolate",
            FETCHES + "test_a_message_whose_isolate_goes_while_it_waits_asks_again",
        ),
        "lets them go on",
    ),
    Mutant(
        "D6",
        "host.actor.outgoing:OutgoingCalls._takes",
        lies.answers(True),
        (CALLS + "test_d6_an_answer_that_comes_when_its_isolate_is_gone_is_dropped_and_counted",),
        "takes every answer",
    ),
    Mutant(
        "D9",
        "host.placement.calls:_is_own",
        lies.answers(True),
        (CALLS + "test_an_actor_of_another_tenant_is_not_found",),
        "finds everybody",
    ),
    Mutant(
        "D1",
        "host.actor.release:Release.hop",
        lies.last_turn_first,
        (D + "test_d1_outputs_of_one_connection_leave_in_order",),
        "lets the last turn out first",
    ),
    Mutant(
        "D2",
        "host.actor.ledger:Ledger.settle_message",
        lies.nothing,
        (D + "test_d2_an_index_settles_in_the_commit_that_holds_its_effects_and_never_goes_back",),
        "does nothing",
    ),
    Mutant(
        "D2",
        "host.actor.watermark:Watermark.settle",
        lies.leaps_over_gaps,
        (AHEAD + "test_d2_the_index_waits_for_the_gap_and_what_settled_above_it_is_kept_beside_it",),
        "leaps over gaps",
    ),
    Mutant(
        "D2",
        "host.actor.watermark:Watermark.settled_ahead",
        lies.answers(()),
        (
            AHEAD + "test_d2_nor_is_it_after_another_events_fault_or_a_sleep",
            AHEAD + "test_d2_nothing_that_settled_ahead_is_delivered_again_whichever_commit_the_actor_is_lost_at",
        ),
        "forgets",
    ),
    Mutant(
        "D2",
        "host.actor.ledger:Ledger.has_room",
        lies.answers(True),
        (AHEAD + "test_d2_a_message_further_above_the_watermark_than_allowed_does_not_begin",),
        "knows no bound",
    ),
    Mutant(
        "D3",
        "host.actor.gates:release_after",
        lies.release_first,
        (
            D + "test_d3_the_buffer_is_kept_until_then",
            D + "test_d3_acknowledgements_come_after_the_commit_and_are_cumulative",
        ),
        "acknowledges first",
    ),
    Mutant(
        "D3",
        "host.actor.release:Release.acks",
        lies.nothing,
        (D + "test_d3_the_buffer_is_kept_until_then",),
        "acknowledges nothing",
    ),
    Mutant(
        "D3",
        "host.actor.release:Release.acks",
        lies.acknowledges_what_settled_ahead,
        (AHEAD + "test_d2_the_index_waits_for_the_gap_and_what_settled_above_it_is_kept_beside_it",),
        "acknowledges above the watermark",
    ),
    Mutant(
        "D3",
        "host.gateway.connection:Connection.ack",
        lies.keeps_the_count,
        (CONNECTION + "test_the_counts_are_exact_whatever_the_order_of_messages_and_acknowledgements",),
        "keeps the byte count",
    ),
    Mutant(
        "D3",
        "host.gateway.connection:Connection.ack",
        lies.frees_everything,
        (CONNECTION + "test_messages_are_numbered_from_one_and_kept_until_acknowledged",),
        "frees everything",
    ),
    Mutant(
        "D4",
        "host.actor.mailbox:Mailbox._is_free",
        lies.answers(True),
        (
            D + "test_d4_messages_of_one_connection_come_one_after_another_and_others_interleave",
            D + "test_d4_opened_is_first_and_closed_is_last",
        ),
        "lets all start",
    ),
    Mutant(
        "D4",
        "host.actor.hop:HopRunner._lets_in",
        lies.answers(True),
        (D + "test_d4_after_a_wake_the_start_settles_only_when_every_socket_has_been_set_up_again",),
        "lets in during a start",
    ),
    Mutant(
        "D4",
        "host.actor.speech:Speech.may_begin",
        lies.answers(True),
        (CONNECT + "test_of_two_wishes_for_a_guarded_event_the_second_waits_for_the_answer_to_the_first",),
        "lets wishes overtake each other",
    ),
    Mutant(
        "D4",
        "host.actor.speech:Speech.keep_early",
        lies.lets_all_out,
        (CONNECT + "test_the_first_frame_is_init_and_what_the_guest_sent_before_comes_right_behind",),
        "sends before Init",
    ),
    Mutant(
        "D6",
        "host.actor.ledger:Ledger.put_begun",
        lies.nothing,
        (LOSSES + "test_d2_whichever_commit_it_is_lost_at_each_action_is_carried_out_once_or_aborted",),
        "forgets what has begun",
    ),
    Mutant(
        "D5",
        "host.actor.charges:may_try_again",
        lies.answers(False),
        (D + "test_d5_each_further_attempt_is_on_record_before_it_starts_and_the_first_writes_nothing",),
        "gives up at once",
    ),
    Mutant(
        "D5",
        "host.actor.ledger:Ledger.put_attempt",
        lies.nothing,
        (D + "test_d5_each_further_attempt_is_on_record_before_it_starts_and_the_first_writes_nothing",),
        "records nothing",
    ),
    Mutant(
        "D5",
        "host.actor.ledger:Ledger.dead_letter",
        lies.nothing,
        (D + "test_d5_a_message_that_faults_three_times_is_given_up_and_its_socket_closed",),
        "loses the letter",
    ),
    Mutant(
        "D5",
        "host.actor.entries:Entry.redelivered",
        lies.an_action_is_retried_once,
        (D + "test_d5_an_action_whose_turn_faults_gets_the_code_and_is_never_retried",),
        "retries an action",
    ),
    Mutant(
        "D6",
        "host.actor.charges:Charging.give_back",
        lies.hands_nothing_back,
        (D + "test_d6_other_events_in_work_are_delivered_again_or_aborted",),
        "hands nothing back",
    ),
    Mutant(
        "D6",
        "host.actor.charges:count_delivery",
        lies.nothing,
        (
            D + "test_d6_other_events_in_work_are_delivered_again_or_aborted",
            LOSS + "test_an_event_with_a_turn_on_disk_runs_again_as_a_further_attempt_or_is_aborted",
        ),
        "does not count",
    ),
    Mutant(
        "D7",
        "host.placement.service:snapshot_of",
        lies.connections_only_while_it_runs,
        (D + "test_d7_the_table_is_the_hosts_even_if_the_guest_never_lives_again",),
        "needs a live guest",
    ),
    Mutant(
        "D8",
        "host.storage.memory:_Actor.fits",
        lies.answers(True),
        (
            D + "test_d8_a_unit_that_does_not_fit_is_refused_whole",
            D + "test_d8_an_instance_that_another_start_has_fenced_out_cannot_write_or_send",
        ),
        "fits all",
    ),
    Mutant(
        "D8",
        "host.storage.sqlite.units:_fits",
        lies.answers(True),
        (STORAGE + "test_a_unit_that_does_not_fit_is_fenced_and_leaves_nothing",),
        "fits all",
    ),
    Mutant(
        "D8",
        "host.actor.starting:Start.check_time",
        lies.nothing,
        (
            STALE + "test_a_guest_that_is_made_after_the_deadline_is_closed_and_never_entered",
            STALE + "test_a_start_that_settles_after_the_deadline_has_failed_and_nothing_of_it_is_written",
        ),
        "takes what comes too late",
    ),
    Mutant(
        "D9",
        "host.capabilities.sockets:open_connection",
        lies.knows_every_connection,
        (D + "test_d9_a_connection_of_another_actor_is_the_same_error_as_an_unknown_one",),
        "knows every connection",
    ),
    Mutant(
        "D9",
        "host.storage.memory:MemoryDriver.actor_kv",
        lies.reads_all_actors,
        (D + "test_d9_what_an_actor_reads_and_writes_is_its_own",),
        "reads all actors",
    ),
    Mutant(
        "D9",
        "host.gateway.exchange:Exchange.guard_namespace",
        lies.nothing,
        (LETTERS + "test_an_actor_that_never_was_and_one_of_another_namespace_are_not_found",),
        "lets every namespace in",
    ),
    Mutant(
        "D9",
        "host.model.identity:Identity.reaches",
        lies.answers(True),
        (MATRIX + "test_what_is_anothers_and_what_is_not_there_look_the_same",),
        "reaches every tenant",
    ),
    Mutant(
        "D9",
        "host.model.identity:Bounds.fit_key",
        lies.answers(True),
        (TOKENS + "test_a_bound_token_is_bound_where_none_is_needed",),
        "knows no bounds",
    ),
    Mutant(
        "D9",
        "host.gateway.auth:AuthPolicy.require",
        lies.nothing,
        (TOKENS + "test_a_bound_token_is_bound_where_none_is_needed",),
        "asks for no scope",
    ),
    Mutant(
        "D9",
        "host.actor.actor:Actor._ask_first",
        lies.nothing,
        (HOOK + "test_a_version_with_a_hook_is_asked_about_what_waited_for_one_without",),
        "delivers unasked",
    ),
    Mutant("D10", "host.actor.intake:Intake._refused", lies.nothing, (D10,), "says nothing"),
    Mutant("D10", "host.placement.directory:Directory._refused", lies.nothing, (D10,), "says nothing"),
    Mutant("D10", "host.actor.instance:Instance._note_given_up", lies.nothing, (D10,), "says nothing"),
    Mutant("D10", "host.actor.closes:Closes.by_host", lies.by_host_says_nothing, (D10,), "says nothing"),
    Mutant("D10", "host.telemetry.metrics:MetricsRegistry.count", lies.nothing, (D10,), "counts nothing"),
)


def mutant_named(name: str) -> Mutant:
    (found,) = [mutant for mutant in MUTANTS if mutant.name == name]
    return found
