"""What a jailed child cannot do, tried from inside one; and the filter's program, read instruction by instruction."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from host.modules.jail import seccomp

ROOT = Path(__file__).parent.parent.parent

# Runs inside: takes everything that a job's process takes, then tries what it must not be able to do.
PROBE = """
import ctypes, json, os, resource, signal, socket, sys, threading
from host.modules.jail.confine import address_space, confine_child, confine_zygote
from host.modules.jail.jobs import Budget

target, victim = sys.argv[1], int(sys.argv[2])
out = os.dup(1)
missing = confine_zygote()
zygote = os.getpid()
pid = os.fork()
if pid:
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))

kept = os.open("/dev/null", os.O_WRONLY)
unfiltered = confine_child(Budget(5_000, 256 << 20), address_space(), zygote)
told = {"missing": missing, "unfiltered": unfiltered}

def attempt(name, call):
    try:
        call()
        told[name] = 0
    except MemoryError:
        told[name] = "memory"
    except ValueError:  # what `resource` makes of EPERM
        told[name] = 1
    except OSError as error:
        told[name] = error.errno

libc = ctypes.CDLL(None, use_errno=True)
def raw(*args):
    if libc.syscall(*args) < 0:
        raise OSError(ctypes.get_errno(), "")

attempt("read a file", lambda: os.open("/etc/passwd", os.O_RDONLY))
attempt("write a file", lambda: os.open(target, os.O_WRONLY | os.O_CREAT))
attempt("make a directory", lambda: os.mkdir(target + ".d"))
attempt("remove a file", lambda: os.unlink("/etc/nothing"))
attempt("socket", lambda: socket.socket(socket.AF_INET))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("run a program", lambda: os.execv("/bin/true", ["true"]))
attempt("signal another", lambda: os.kill(victim, 0))
attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_CPU, (1_000, 1_000)))
attempt("memory file", lambda: os.memfd_create("x"))
attempt("another user", lambda: os.setuid(0))
attempt("namespace", lambda: raw(ctypes.c_long({"x86_64": 272, "aarch64": 97}[os.uname().machine]), 0x10000000))
attempt("much memory", lambda: bytearray(512 << 20))
attempt("some memory", lambda: bytearray(64 << 20))
attempt("write to what is open", lambda: os.write(kept, b"x"))

ran = []
def thread():
    thread = threading.Thread(target=lambda: ran.append(1))
    thread.start()
    thread.join()
attempt("a thread", thread)
told["ran"] = len(ran)
os.write(out, json.dumps(told).encode())
os._exit(0)
"""

pytestmark = pytest.mark.skipif(not seccomp.available(), reason="there is no filter for this machine")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    target = tmp_path_factory.mktemp("walls") / "written"
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(target), str(os.getpid())],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert not target.exists()
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    "what",
    [
        "read a file",
        "write a file",
        "make a directory",
        "remove a file",
        "socket",
        "unix socket",
        "fork",
        "run a program",
        "signal another",
        "raise a limit",
        "memory file",
        "another user",
        "namespace",
    ],
)
def test_a_child_is_not_permitted_to(what: str, told: dict[str, object]) -> None:
    assert told["unfiltered"] is None
    assert told[what] == errno.EPERM


def test_a_child_has_the_memory_of_its_budget_and_no_more(told: dict[str, object]) -> None:
    assert (told["some memory"], told["much memory"]) == (0, "memory")


def test_a_child_may_have_threads_and_write_to_what_it_was_given(told: dict[str, object]) -> None:
    assert (told["a thread"], told["ran"], told["write to what is open"]) == (0, 1, 0)


def test_another_system_has_limits_only_and_says_so() -> None:
    probe = """
import os, resource
from host.modules.jail import confine, seccomp
from host.modules.jail.jobs import Budget
confine.LINUX = False
seccomp.available = lambda: False
missing = confine.confine_zygote()
unfiltered = confine.confine_child(Budget(1_500, 256 << 20), confine.address_space(), 0)
print(len(missing), unfiltered is not None, *resource.getrlimit(resource.RLIMIT_CPU), os.nice(0) > 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 True 2 3 True\n", "")


def run(program: list[seccomp.Instruction], number: int, arguments: tuple[int, ...] = (), audit: int = 0) -> int:
    """A classic BPF machine for the four instructions that the filter uses."""
    words = {0: number, 4: audit}
    for at, value in enumerate(arguments):
        words[16 + 8 * at], words[20 + 8 * at] = value & 0xFFFF_FFFF, value >> 32
    held = at = 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x20:
            held = words.get(value, 0)
        elif code == 0x06:
            return value
        else:
            holds = held == value if code == 0x15 else bool(held & value)
            at += yes if holds else no


ALLOW, KILL, EPERM, ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026
X86, ARM = 0xC000_003E, 0xC000_00B7


@pytest.mark.parametrize(
    ("machine", "audit", "number", "arguments", "verdict"),
    [
        ("x86_64", X86, 1, (), ALLOW),  # write
        ("x86_64", X86, 257, (), EPERM),  # openat
        ("x86_64", X86, 0x4000_0001, (), EPERM),  # write, of the other ABI of this machine
        ("x86_64", 0x4000_0003, 4, (), KILL),  # write, in 32-bit mode
        ("x86_64", X86, 56, (0x3D0F00,), ALLOW),  # clone of a thread
        ("x86_64", X86, 56, (0x1200011,), EPERM),  # fork
        ("x86_64", X86, 435, (), ENOSYS),  # clone3
        ("x86_64", X86, 302, (0, 7, 0), ALLOW),  # prlimit64 that reads
        ("x86_64", X86, 302, (0, 7, 1 << 32), EPERM),  # and that writes
        ("x86_64", X86, 302, (0, 7, 0x1000), EPERM),
        ("x86_64", X86, 234, (77, 77, 6), ALLOW),  # tgkill of itself
        ("x86_64", X86, 234, (78, 78, 9), EPERM),
        ("x86_64", X86, 425, (), EPERM),  # io_uring_setup
        ("aarch64", ARM, 64, (), ALLOW),  # write
        ("aarch64", ARM, 56, (), EPERM),  # openat
        ("aarch64", ARM, 198, (), EPERM),  # socket
        ("aarch64", ARM, 220, (0x3D0F00,), ALLOW),
        ("aarch64", ARM, 220, (0x1200011,), EPERM),
        ("aarch64", X86, 64, (), KILL),
    ],
)
def test_the_filter_decides(machine: str, audit: int, number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert run(seccomp.program(77, machine), number, arguments, audit) == verdict


def test_an_unknown_machine_goes_without_a_filter_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not seccomp.available()
    assert "vax" in (seccomp.install() or "")


REFUSED = """
from host.modules.jail import confine, seccomp
seccomp.install = lambda: "the kernel takes no filter of system calls: Invalid argument"
print([line for line in confine.confine_zygote() if "filter" in line])
"""


def test_a_filter_that_the_kernel_refuses_is_told_to_the_operator() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert "a filter of system calls: the kernel takes no filter of system calls" in done.stdout
