"""The neighbour: a decent actor of another tenant, called without a pause from a process of its own.

It is what the self-test is about: whatever a hostile tenant does, the neighbour's answers stay right, and quick. The
caller has a process to itself so that the work of the self-test does not show in its figures.

    python -m host.selftest.neighbour ENDPOINT ACTOR_ID

prints a line per answer: when it was asked (seconds of the system's monotonic clock), how long it took, and `ok`, or
what was wrong. The token is in DORMICE_ADMIN_TOKEN. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from subprocess import PIPE
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.text import TextReceiveStream

from host.clock import SystemClock
from host.model.clock import Clock

__all__ = ["NEIGHBOUR", "Neighbour", "Sample"]

# It counts in memory and on disk, so that a wrong answer of either shows.
NEIGHBOUR = """import { actor } from "isolate";
export default actor({
  state: { n: 0 },
  actions: {
    async next(c, nonce) {
      c.state.n += 1;
      await c.kv.put("n", String(c.state.n));
      return `${c.state.n} ${await c.kv.get("n")} ${nonce}`;
    },
  },
});
"""
# Between an answer and the next question, in seconds: the neighbour is busy, but not the load itself.
PAUSE = 0.003
PATIENCE = 30.0
KEPT = 200_000

Sample = tuple[float, float, str]


class Neighbour:
    """The parent's side: the samples that have come in. Use as an async context manager's task: `watch`."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.first = anyio.Event()
        self._next = anyio.Event()
        self.ended = False

    async def watch(self, endpoint: str, actor_id: str, token: str) -> None:
        """Until cancelled, or the caller has lost its connection; ends the process then."""
        command = [sys.executable, "-m", "host.selftest.neighbour", endpoint, actor_id]
        environment = {**os.environ, "DORMICE_ADMIN_TOKEN": token}
        process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None, env=environment)
        try:
            assert process.stdout is not None
            rest = ""
            async for text in TextReceiveStream(process.stdout):
                *lines, rest = (rest + text).split("\n")
                for line in lines:
                    asked, took, answer = line.split(" ", 2)
                    self.samples.append((float(asked), float(took), answer))
                self.first.set()
                self._next.set()
                self._next = anyio.Event()
        finally:
            self.ended = True
            self._next.set()
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await process.aclose()

    async def answered_after(self, when: float) -> None:
        """Returns once a question that was asked later than that has its answer: until then one may be on its way that
        was asked before."""
        while not self.ended and (not self.samples or self.samples[-1][0] < when):
            await self._next.wait()

    def between(self, begin: float, end: float) -> list[Sample]:
        """Those that were asked in between, or were on their way at the beginning."""
        return [sample for sample in self.samples if sample[0] + sample[1] >= begin and sample[0] <= end]


async def _ask(stream: anyio.abc.ByteStream, buffered: BufferedByteReceiveStream, head: str, nonce: int) -> str:
    body = b'{"args":["%d"]}' % nonce
    await stream.send(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    status = (await buffered.receive_until(b"\r\n", 1_024)).decode("latin-1")
    length = 0
    while line := await buffered.receive_until(b"\r\n", 65_536):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answer = await buffered.receive_exactly(length) if length else b""
    if " 200 " not in status:
        return f"{status} {answer[:200]!r}"
    return str(json.loads(answer)["output"])


async def _call_for_ever(endpoint: str, actor_id: str, token: str, clock: Clock) -> None:
    address = urlsplit(endpoint)
    where = (address.hostname or "127.0.0.1", address.port or 80)
    head = (
        f"POST /gateway/{actor_id}/action/next HTTP/1.1\r\nhost: {where[0]}:{where[1]}\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    )
    expected = 0
    async with await anyio.connect_tcp(*where) as stream:
        buffered = BufferedByteReceiveStream(stream)
        while True:
            expected += 1
            asked = clock.monotonic()
            try:
                with clock.fail_after(PATIENCE):
                    got = await _ask(stream, buffered, head, expected)
            except TimeoutError:
                got = f"no answer within {PATIENCE:g} s"
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead) as error:
                got = f"the connection was lost: {type(error).__name__}"
            took = clock.monotonic() - asked
            wanted = f"{expected} {expected} {expected}"
            print(
                f"{asked:.6f} {took:.6f} {'ok' if got == wanted else f'expected {wanted!r}, got {got!r}'}", flush=True
            )
            if got.startswith("the connection"):
                return
            await clock.sleep_until(clock.monotonic() + PAUSE)


async def _main(endpoint: str, actor_id: str) -> None:
    """Ends with its parent: standard input closes then."""
    async with anyio.create_task_group() as tasks:

        async def until_orphaned() -> None:
            await anyio.wait_readable(sys.stdin)
            tasks.cancel_scope.cancel()

        tasks.start_soon(until_orphaned)
        await _call_for_ever(endpoint, actor_id, os.environ["DORMICE_ADMIN_TOKEN"], SystemClock())
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], sys.argv[2])
