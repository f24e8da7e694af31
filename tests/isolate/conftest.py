"""Engines are made once: every test that crosses between host and guest runs over the fast and the checked path."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from host.isolate.cell import CELLS
from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.isolate import Isolate
from host.isolate.turn_host import TurnHost
from host.model.errors import GuestFault
from host.model.limits import Limits
from tests.isolate.guests import Host

Start = Callable[..., Isolate]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", params=["unchecked", "checked"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = Engine(checked=request.param == "checked")
    yield made
    made.close()


@pytest.fixture(scope="session")
def one_engine() -> Iterator[Engine]:
    """For what does not depend on the path."""
    made = Engine()
    yield made
    made.close()


@pytest.fixture(scope="session")
def dense_engine() -> Iterator[Engine]:
    made = Engine(profile="dense")
    yield made
    made.close()


@pytest.fixture
def start(engine: Engine) -> Iterator[Start]:
    """Starts isolates and closes them; afterwards none may be left open."""
    started: list[Isolate] = []
    before = len(CELLS)

    def begin(
        module: bytes | Code, host: TurnHost | None = None, *, on: Engine | None = None, **limits: int
    ) -> Isolate:
        code = module if isinstance(module, Code) else (on or engine).compile(module)
        isolate = Isolate(code, Limits(**limits), host or Host())
        started.append(isolate)
        return isolate

    yield begin
    for isolate in started:
        isolate.close()
    assert len(CELLS) == before


def fault_of(job: Callable[[], object]) -> GuestFault:
    """The fault that the job ends with."""
    with pytest.raises(GuestFault) as caught:
        job()
    return caught.value
