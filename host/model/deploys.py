"""Which version of a definition an actor is to run: the newest that may have it. Pure.

A deploy is a new version. It reaches a share of the actors (`percent`, a canary), chosen by a hash of their ids, so
that the same actors are first while the share grows. A deploy that failed or was rolled back takes in no further
actor; those that run on it already stay. An actor whose start on a version failed is held back from it, and from those
between it and the one that it runs: what is newer than both is tried, nothing is tried twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from host.model.definitions import Definition

__all__ = [
    "DEPLOY_WINDOW_MS",
    "FAILED_ACTORS",
    "ROLLED_BACK",
    "bucket_of",
    "deploy_fails",
    "goes_back_to",
    "is_alone",
    "is_settled",
    "rolls_back_to",
    "takes",
    "wanted",
]

# The reason of a deploy that an operator took back.
ROLLED_BACK = "rolled back"

# So many actors that could not start on a version, within the window, fail its deploy.
FAILED_ACTORS = 3
DEPLOY_WINDOW_MS = 10 * 60 * 1_000


def bucket_of(actor_id: str, name: str, version: int) -> int:
    """0 to 99. It changes with the version, so that it is not always the same actors that try what is new."""
    digest = sha256(f"{name}\0{version}\0{actor_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def wanted(actor_id: str, runs: int | None, held: int | None, versions: Iterable[Definition]) -> Definition | None:
    """Of `versions` (any order) the one that this actor is to run. `runs` is the version of its last settled start,
    None before the first; `held` the one that it is held back from. None if there is nothing that it could run."""
    newest = sorted(versions, key=lambda each: each.version, reverse=True)
    for each in newest:
        if takes(actor_id, runs, held, each):
            return each
    # A first version that is still a canary, or one that failed, may be all that there is: better that than nothing.
    return newest[0] if newest else None


def is_alone(newest: Definition, versions: Iterable[Definition]) -> bool:
    """Whether no older version is live for everyone: a new actor that neither is for gets the newest all the same."""
    return not any(each.version < newest.version and each.status == "live" and each.percent >= 100 for each in versions)


def takes(actor_id: str, runs: int | None, held: int | None, each: Definition) -> bool:
    """Whether the actor runs this version if there is none that is newer."""
    if each.version == runs:
        return True
    if each.status != "live" or _is_held(each.version, runs, held):
        return False
    return each.percent >= 100 or bucket_of(actor_id, each.name, each.version) < each.percent


def _is_held(version: int, runs: int | None, held: int | None) -> bool:
    return held is not None and (version == held or (runs is not None and runs < version < held))


def goes_back_to(
    actor_id: str, runs: int | None, held: int | None, failed: int, versions: Iterable[Definition]
) -> Definition | None:
    """The version for an actor whose start on `failed` did not succeed: the one that it ran before. One that never ran
    gets another that is live, once; `runs` and `held` are as for `wanted`, before the failure."""
    known = list(versions)
    if runs is not None:
        return next((each for each in known if each.version == runs != failed), None)
    if held is not None:
        return None
    found = wanted(actor_id, None, failed, known)
    return found if found is not None and found.version != failed and found.status == "live" else None


def is_settled(deploy: Definition, now: int) -> bool:
    """Whether a deploy has been out, to everyone, for longer than the window. What a first start on it fails for then
    is the actor's own affair: whoever creates actors with an input that cannot work must not undo a deploy."""
    return deploy.percent == 100 and now - deploy.created_at > DEPLOY_WINDOW_MS


def rolls_back_to(versions: Iterable[Definition]) -> tuple[Definition, Definition] | None:
    """(the newest version, the one to go back to): the newest live one below it that is not the same over again, as the
    newest or as one that has failed. So several in a row go back step by step."""
    known = sorted(versions, key=lambda each: each.version, reverse=True)
    if not known:
        return None
    newest, *older = known
    left = [_content(newest)]
    for each in older:
        if each.status != "live":
            left.append(_content(each))
        elif _content(each) not in left:
            return newest, each
    return None


def _content(each: Definition) -> tuple[object, ...]:
    return each.module, each.options, each.limits


def deploy_fails(failed_at: Iterable[int], actors: int, now: int) -> bool:
    """Whether a deploy has failed: `failed_at` holds the time (ms) at which each actor could not start on it, `actors`
    is how many the definition has."""
    recent = sum(1 for at in failed_at if now - at <= DEPLOY_WINDOW_MS)
    return recent >= FAILED_ACTORS or (recent >= 1 and actors <= 1)
