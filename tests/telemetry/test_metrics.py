"""Metrics: what is recorded is what is rendered."""

from __future__ import annotations

import pytest

from host.model.ports import Metrics
from host.telemetry.metrics import MAX_REASONS, MetricsRegistry


def test_a_counter_counts_by_reason() -> None:
    metrics: Metrics = MetricsRegistry()
    metrics.count("dead_letters", "poison_message")
    metrics.count("dead_letters", "poison_message", 2)
    metrics.count("dead_letters", "alarm")
    assert isinstance(metrics, MetricsRegistry)
    assert metrics.counter("dead_letters", "poison_message") == 3
    assert metrics.counter("dead_letters") == 4
    assert metrics.counter("nothing") == 0
    assert 'dormice_dead_letters_total{reason="poison_message"} 3\n' in metrics.render()


def test_a_counter_without_a_reason_has_no_label() -> None:
    metrics = MetricsRegistry()
    metrics.count("wakes")
    assert metrics.render() == "# TYPE dormice_wakes_total counter\ndormice_wakes_total 1\n"


def test_a_reason_is_escaped() -> None:
    metrics = MetricsRegistry()
    metrics.count("odd", 'a"b\\c\nd')
    assert '{reason="a\\"b\\\\c\\nd"} 1' in metrics.render()


def test_reasons_without_end_do_not_grow_memory() -> None:
    metrics = MetricsRegistry()
    for n in range(MAX_REASONS + 50):
        metrics.count("hostile", f"r{n}")
    metrics.count("hostile", "r0")
    assert metrics.counter("hostile", "other") == 50
    assert metrics.counter("hostile", "r0") == 2
    assert metrics.counter("hostile") == MAX_REASONS + 51


def test_gauges_hold_the_last_value_or_ask_for_it() -> None:
    metrics = MetricsRegistry()
    metrics.gauge("actors_live", 3)
    metrics.gauge("actors_live", 2.5)
    depth = [7]
    metrics.gauge_from("mailbox_depth", lambda: depth[0])
    depth[0] = 9
    text = metrics.render()
    assert "dormice_actors_live 2.5\n" in text
    assert "dormice_mailbox_depth 9\n" in text
    assert metrics.gauge_value("mailbox_depth") == 9
    assert metrics.gauge_value("unknown") is None


def test_a_histogram_is_cumulative_and_ends_with_everything() -> None:
    metrics = MetricsRegistry()
    for seconds in (0.0001, 0.0002, 0.3, 99.0):
        metrics.observe("turn", seconds)
    text = metrics.render()
    assert 'dormice_turn_seconds_bucket{le="5e-05"} 0\n' in text
    assert 'dormice_turn_seconds_bucket{le="0.0001"} 1\n' in text
    assert 'dormice_turn_seconds_bucket{le="0.5"} 3\n' in text
    assert 'dormice_turn_seconds_bucket{le="15"} 3\n' in text
    assert 'dormice_turn_seconds_bucket{le="+Inf"} 4\n' in text
    assert "dormice_turn_seconds_count 4\n" in text
    assert metrics.observations("turn") == 4


def test_an_empty_registry_renders_nothing() -> None:
    assert MetricsRegistry().render() == ""


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "9lead", "a b", 'x"y'])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    metrics = MetricsRegistry()
    with pytest.raises(ValueError, match="not a metric name"):
        metrics.count(name)
    with pytest.raises(ValueError, match="not a metric name"):
        metrics.gauge(name, 1)
    with pytest.raises(ValueError, match="not a metric name"):
        metrics.observe(name, 1)
