"""The zygote: a small process that has imported what jobs need, and forks a confined child for each.

It has no engine and no thread, so forking is safe, and it inherits nothing of the host but one socket: no key, no
database, no token. A job arrives as two descriptors. On the one the child gets its job and puts its answer; on the
other the zygote says how the child ended, and learns by its closing that nobody waits any more. The end of the control
socket is the end of the host: the children are killed and the zygote ends. Should the zygote be killed, the kernel ends
its children.

It keeps no time: a child's CPU limit is the kernel's affair, and wall time is the host's.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import msgspec

from host.modules.jail.confine import ZYGOTE_FILES, address_space, confine_child, confine_zygote
from host.modules.jail.frames import read_frame, write_frame
from host.modules.jail.jobs import Budget, Ended, Ready, decode_job, encode
from host.modules.jail.work import perform

__all__ = ["MAX_FRAME", "main"]

MAX_FRAME = 128 * 1024 * 1024
MAX_SAID = 4_096
_ORDER = 256
# What `ru_maxrss` counts in.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024

_budgets = msgspec.msgpack.Decoder(Budget)


class _Child:
    """A job that runs. `life` is the host's interest in it, `said` what it writes on standard error."""

    __slots__ = ("life", "pid", "said")

    def __init__(self, pid: int, life: int, said: int) -> None:
        self.pid = pid
        self.life = life
        self.said = said


class Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, _Child] = {}
        self._by_life: dict[int, _Child] = {}
        self._poll = select.poll()
        self._space = 0

    def run(self) -> None:
        missing = confine_zygote()
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        # what is here now is never garbage; touching it would copy its pages into every child
        gc.collect()
        gc.freeze()
        self._space = address_space()
        control = self._control.fileno()
        self._poll.register(control, select.POLLIN)
        self._poll.register(woken, select.POLLIN)
        write_frame(control, encode(Ready(tuple(missing))))
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == control:
                    if not self._take_order():
                        return self._end()
                elif descriptor == woken:
                    with suppress(BlockingIOError):
                        while os.read(woken, 512):
                            continue
                    self._reap()
                else:
                    self._abandoned(descriptor)

    def _take_order(self) -> bool:
        """One job; False at the end of the host."""
        try:
            order, descriptors, _, _ = socket.recv_fds(self._control, _ORDER, 2)
        except ConnectionResetError:
            return False
        if not order:
            return False
        data, life = descriptors
        self._start(_budgets.decode(order), data, life)
        return True

    def _start(self, budget: Budget, data: int, life: int) -> None:
        said, says = os.pipe()
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            _tell(life, Ended(-1, 0, 0, 0, f"no process: {error.strerror}"))
            pid = -1
        if pid == 0:
            _live(budget, data, says, self._space, zygote)
        os.close(data)
        os.close(says)
        if pid < 0:
            os.close(said)
            os.close(life)
            return
        child = _Child(pid, life, said)
        self._children[pid] = child
        self._by_life[life] = child
        self._poll.register(life, select.POLLIN)

    def _abandoned(self, life: int) -> None:
        """The host has closed its end. The child is reaped like any other."""
        child = self._by_life.get(life)
        if child is not None:
            self._poll.unregister(life)
            _kill(child.pid)

    def _reap(self) -> None:
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            self._over(self._children.pop(pid), status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)

    def _over(self, child: _Child, status: int, cpu: float, peak: int) -> None:
        del self._by_life[child.life]
        with suppress(KeyError):  # abandoned, and so no longer watched
            self._poll.unregister(child.life)
        os.set_blocking(child.said, False)
        try:
            said = os.read(child.said, MAX_SAID)
        except BlockingIOError:
            said = b""
        code, number = (0, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), 0)
        _tell(child.life, Ended(code, number, int(cpu * 1000), peak * _PEAK_UNIT, said.decode("utf-8", "replace")))
        os.close(child.said)
        os.close(child.life)

    def _end(self) -> None:
        for pid in self._children:
            _kill(pid)
        for pid in self._children:
            os.waitpid(pid, 0)


def _tell(life: int, ended: Ended) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it
        write_frame(life, encode(ended))


def _kill(pid: int) -> None:
    """The child alone: it cannot have made processes where there is a filter, and has made none where there is none."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _live(budget: Budget, data: int, says: int, space: int, zygote: int) -> NoReturn:
    """A child's whole life. Nothing of the zygote's stack is ever returned to."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.set_blocking(says, False)
        os.dup2(says, 2)
        answers = os.dup2(data, 3)
        os.closerange(4, ZYGOTE_FILES)
        os.environ.clear()
        confine_child(budget, space, zygote)
        order = read_frame(answers, MAX_FRAME)
        if order is not None:
            write_frame(answers, encode(perform(decode_job(order))))
            code = 0
    except MemoryError:
        code = 3
    except Exception:  # noqa: BLE001 - nobody is left to raise it to; the host logs what is said here
        os.write(2, traceback.format_exc()[-MAX_SAID:].encode())
    finally:
        os._exit(code)


def main(control: int) -> None:
    os.chdir("/")
    with socket.socket(fileno=control) as sock:
        sock.setblocking(True)
        Zygote(sock).run()
