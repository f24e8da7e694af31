"""The host's hold on the zygote: starting it with nothing in its hands, giving it jobs, ending it.

The zygote's environment is made from nothing: the path of this program's modules and what the dynamic linker needs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing

import anyio
import msgspec
from anyio.to_thread import run_sync

from host.model.clock import Clock
from host.modules.jail.frames import FrameTooLong, receive_frame, send_frame
from host.modules.jail.jobs import Answer, Broken, Budget, Ended, Job, Ready, decode_answer, encode
from host.modules.jail.zygote import MAX_FRAME

__all__ = ["ZygoteGone", "ZygoteProcess"]

MAX_WORD = 64 * 1024
STOP_SECONDS = 5.0
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")

_ready = msgspec.msgpack.Decoder(Ready)
_ended = msgspec.msgpack.Decoder(Ended)


class ZygoteGone(Exception):
    """It did not start, or is not there any more."""


class ZygoteProcess:
    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self.missing: tuple[str, ...] = ()
        # Jobs in a row that came to no end by the clock, with no word from the zygote in between.
        self.silent = 0

    @classmethod
    async def start(cls) -> ZygoteProcess:
        """Returns when it can take jobs."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with closing(theirs):
            try:
                zygote = cls(await run_sync(_spawn, theirs.fileno()), ours)
            except BaseException:
                ours.close()
                raise
        try:
            word = await receive_frame(ours, MAX_WORD)
            if word is None:
                raise ZygoteGone("it ended at its start")
            zygote.missing = _ready.decode(word).missing
        except BaseException:
            zygote._end()
            raise
        return zygote

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def run(self, job: Job, budget: Budget) -> tuple[Answer | None, Ended | None]:
        """The child's answer, if it gave one, and the zygote's word on its end, if that was still there. Whoever stops
        waiting has the child killed."""
        data, life = self._launch(budget)
        with closing(data), closing(life):
            try:
                await send_frame(data, encode(job))
                answer = await _answer(data)
            except (BrokenPipeError, ConnectionResetError):  # it ended before it had read the whole job
                answer = None
            data.close()
            word = await receive_frame(life, MAX_WORD)
            if word is None:
                return answer, None
            self.silent = 0
            return answer, _ended.decode(word)

    def _launch(self, budget: Budget) -> tuple[socket.socket, socket.socket]:
        data, childs = socket.socketpair()
        life, zygotes = socket.socketpair()
        try:
            socket.send_fds(self._control, [encode(budget)], [childs.fileno(), zygotes.fileno()])
        except OSError as error:
            data.close()
            life.close()
            raise ZygoteGone(f"it takes no jobs: {error}") from error
        finally:
            childs.close()
            zygotes.close()
        data.setblocking(False)
        life.setblocking(False)
        return data, life

    async def kill(self) -> None:
        """Ends one that is not to be talked to any more, and its children with it. What waits for its jobs is told."""
        self._control.close()
        self._process.kill()
        with anyio.CancelScope(shield=True):
            await run_sync(self._process.wait)

    async def stop(self, clock: Clock) -> None:
        """Ends it and every child. Returns when it is gone and reaped."""
        try:
            self._control.shutdown(socket.SHUT_WR)
            with clock.fail_after(STOP_SECONDS):
                await receive_frame(self._control, MAX_WORD)
        except (OSError, TimeoutError, FrameTooLong):
            pass  # what is not gone by now is killed
        finally:
            self._end()

    def _end(self) -> None:
        """A zygote that has closed its socket is as good as gone; another is killed, and its children with it."""
        self._control.close()
        self._process.kill()
        self._process.wait()


async def _answer(data: socket.socket) -> Answer | None:
    try:
        frame = await receive_frame(data, MAX_FRAME)
        return None if frame is None else decode_answer(frame)
    except (FrameTooLong, msgspec.DecodeError) as error:
        return Broken(f"what the child answered is no answer: {error}")


def _spawn(control: int) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", "host.modules.jail", str(control)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        close_fds=True,
        pass_fds=(control,),
        start_new_session=True,
    )
