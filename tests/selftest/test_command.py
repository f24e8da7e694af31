"""The command `dormice selftest`, as an operator types it."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from host.cli.main import app
from host.selftest.corpus import CORPUS

runner = CliRunner()


def test_the_list_has_every_case() -> None:
    done = runner.invoke(app, ["selftest", "--list", "--json"])
    assert done.exit_code == 0
    assert [row["name"] for row in json.loads(done.stdout)] == [case.name for case in CORPUS]


def test_the_list_can_be_narrowed_by_a_limit() -> None:
    done = runner.invoke(app, ["selftest", "--list", "--json", "--only", "kv_batch"])
    assert [row["attacks"] for row in json.loads(done.stdout)] == ["kv_batch"]
    assert "kv_batch" in runner.invoke(app, ["selftest", "--list", "--only", "kv_batch"]).stdout


def test_one_case_is_run_on_a_fresh_host_and_told_in_full() -> None:
    done = runner.invoke(app, ["selftest", "--hostile", "--only", "calls/kv-batch", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["contained"] is True
    (case,) = told["cases"]
    assert (case["name"], case["outcome"]) == ("calls/kv-batch", "limit/exceeded (kv_batch)")
    assert told["answers"] > 0
    assert told["p99_ratio"] > 0


def test_a_case_that_is_not_there_is_an_error() -> None:
    done = runner.invoke(app, ["selftest", "--hostile", "--only", "no such case"])
    assert done.exit_code == 1
