"""Modules that use what of RivetKit is not here are refused when they are uploaded, with a message that names it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from tests.end_to_end.host import TestHost, start_host

pytestmark = pytest.mark.anyio

ACTOR = 'import {{ actor, queue }} from "rivetkit";\n{more}\nexport default actor({{ actions: {{}}, {field} }});\n'


@pytest.fixture(scope="module")
async def host(new_module_dir: Callable[[], Path]) -> AsyncGenerator[TestHost]:
    async with start_host(new_module_dir()) as running:
        yield running


@pytest.mark.parametrize(
    ("more", "field", "named"),
    [
        ("", "queues: { jobs: queue() }", "queues are not available"),
        ("", "db: {}", "db is not available"),
        ('import { db } from "rivetkit/db";', "db: db()", "rivetkit/db"),
        ('import { workflow } from "rivetkit/workflow";', "run: workflow(async () => {})", "rivetkit/workflow"),
        ('import { createClient } from "rivetkit/client";', "vars: createClient", "rivetkit/client"),
    ],
)
async def test_what_is_missing_is_refused_at_the_upload(host: TestHost, more: str, field: str, named: str) -> None:
    with anyio.fail_after(20):
        source = ACTOR.format(more=more, field=field)
        answer = await host.http.post("/modules", content=source, headers={"content-type": "text/javascript"})
        assert answer.status_code == 400
        assert named in answer.json()["message"]
