"""Deploying, upgrading, breaking, rolling back and reloading from the command line, against a host of its own."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.cli.test_commands import endpoint, quick

__all__ = ["endpoint"]

GOOD = "export default { actions: { which: () => %d } };"
BAD = "export default { onUpgrade() { throw new Error('not today'); }, actions: { which: () => 0 } };"


def test_a_module_is_deployed_upgraded_broken_and_rolled_back(endpoint: str, tmp_path: Path) -> None:
    def deploy(source: str, *more: str) -> str:
        file = tmp_path / "m.js"
        file.write_text(source)
        code, out, err = quick("deploy", "ship", str(file), *more, endpoint=endpoint)
        assert (code, err) == (0, "")
        return out

    def which() -> str:
        code, out, err = quick("call", "ship", "a", "which", endpoint=endpoint)
        assert (code, err) == (0, "")
        return out.strip()

    def actor_id() -> str:
        _, out, _ = quick("actors", "--name", "ship", endpoint=endpoint)
        return out.splitlines()[1].split()[0]

    deploy(GOOD % 1)
    assert which() == "1"
    actor = actor_id()
    assert "for 0 % of the actors" in deploy(GOOD % 2, "--percent", "0")
    code, out, _ = quick("reload", actor, endpoint=endpoint)
    assert (code, which()) == (0, "1")
    assert out.startswith("running: ship version 1, generation 1, sha256:")
    code, out, _ = quick("rollout", "ship", "--percent", "100", endpoint=endpoint)
    assert (code, which()) == (0, "1")
    assert quick("reload", actor, endpoint=endpoint)[0] == 0
    assert which() == "2"

    # it breaks: the actor is asked to go over, cannot, and goes on as it was
    deploy(BAD)
    code, out, _ = quick("reload", actor, endpoint=endpoint)
    assert code == 0
    assert "held back from version 3" in out
    assert which() == "2"
    code, out, _ = quick("deploys", "ship", endpoint=endpoint)
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines[1:4]] == ["3", "2", "1"]
    assert "failed" in lines[1]
    assert "not today" in out
    assert f"actor {actor} could not start on version 3" in out

    code, out, _ = quick("rollback", "ship", "--now", "--rate", "5", endpoint=endpoint)
    assert code == 0
    assert out.splitlines()[0] == "version 3 is rolled back to what version 2 was"
    assert out.splitlines()[-2].endswith("actors that are awake: moved now to the version that they are to run")
    assert out.splitlines()[-1] == "watch it with `dormice deploys ship`"
    code, out, _ = quick("status", actor, endpoint=endpoint)
    assert code == 0
    assert out.startswith(("running: ship version", "stopping: ship version", "starting: ship version"))
    assert which() == "2"


def test_a_deploy_says_who_gets_it_and_how_many_are_moved(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "m.js"

    def deploy(source: str, *more: str) -> list[str]:
        file.write_text(source)
        code, out, err = quick("deploy", "few", str(file), *more, endpoint=endpoint)
        assert (code, err) == (0, "")
        return out.splitlines()

    (line,) = deploy(GOOD % 1, "--percent", "10")
    assert line.endswith(" for all actors, not for 10 % of them: no older version is live for everyone")
    deploy(GOOD % 2)
    for key in "abc":
        assert quick("call", "few", key, "which", endpoint=endpoint)[0] == 0
    line, moved, watch = deploy(GOOD % 3, "--percent", "0", "--now")
    assert line.endswith(" for 0 % of the actors")
    assert moved == "0 of 3 actors that are awake: moved now to the version that they are to run"
    assert watch == "watch it with `dormice deploys few`"
    assert deploy(GOOD % 4, "--now")[1].startswith("3 of 3 actors")


def test_a_deploy_opens_hosts_and_says_which_can_never_match(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "m.js"
    file.write_text(GOOD % 1)
    opened = ("--egress", "api.example.com", "--egress", "*.example.org")
    assert quick("deploy", "open", str(file), *opened, endpoint=endpoint)[0] == 0
    shown = httpx.get(f"{endpoint}/definitions/open").json()
    assert shown["options"] == {"egress": {"hosts": ["api.example.com", "*.example.org"]}}
    code, out, err = quick("deploy", "open", str(file), "--egress", "https://x", endpoint=endpoint)
    assert (code, out) == (1, "")
    assert err.startswith("definition/invalid_options: egress: 'https://x' is no host")


def test_what_does_not_work_is_one_line(endpoint: str) -> None:
    for command in (["rollback", "none"], ["rollout", "none"], ["deploys", "none"]):
        code, out, err = quick(*command, endpoint=endpoint)
        assert (code, out) == (1, "")
        assert err.startswith("definition/not_found: ")
    for command in (["status", "0" * 32], ["reload", "0" * 32]):
        code, out, err = quick(*command, endpoint=endpoint)
        assert (code, out) == (1, "")
        assert err.startswith("actor/not_found: ")
