"""The filter of system calls: what it answers, on the processors that it knows, and what this kernel makes of it."""

import errno
import os
import platform
import struct
import subprocess
import sys
import textwrap

import pytest

from loopwright.wire.system_calls import Line, Rule, can_filter, program, refused_to

ALLOWED, REFUSED, DONE = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000
UNSUPPORTED = 0x00050000 | errno.EOPNOTSUPP
MARKS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4711
needs_filter = pytest.mark.skipif(not can_filter(), reason="this kernel filters no system calls (seccomp)")
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="other calls than these are those of x86-64")
machines = pytest.mark.parametrize("machine", list(MARKS))


def answer(lines: list[Line], number: int, *arguments: int, mark: int) -> int:
    """Return what the kernel answers a call, by the words of its manual on how a filter is read."""
    words = (number, mark, 0, *arguments, *(0,) * (6 - len(arguments)))
    packed = struct.pack("<IIQ6Q", *(word & 0xFFFFFFFFFFFFFFFF for word in words))
    at, held = 0, 0
    while True:
        do, if_so, if_not, value = lines[at]
        at += 1
        if do == 0x06:
            return value
        if do == 0x20:
            held = struct.unpack_from("<I", packed, value)[0]
        else:
            at += if_so if (held == value if do == 0x15 else held >= value) else if_not


def ask(machine: str, name: str, *arguments: int, network: bool = False, signals: bool = False) -> int:
    everything = refused_to(PID, network=False, signals=False)
    rules = refused_to(PID, network=network, signals=signals)
    return answer(
        program(machine, list(rules.values())),
        getattr(everything[name], machine),
        *arguments,
        mark=MARKS[machine],
    )


@machines
@pytest.mark.parametrize(
    ("name", "own", "others"),
    [
        ("prlimit64", [(0, 7), (PID, 7)], [(1, 7), (PID + 1, 7), (-1, 7), (1 << 32 | 1, 7)]),
        ("sched_setscheduler", [(0,), (PID,)], [(1,)]),
        ("setpriority", [(0, 0), (0, PID)], [(0, 1), (1, 0), (2, 0), (2, PID)]),
        ("ioprio_set", [(1, 0), (1, PID)], [(1, 1), (2, 0), (3, 0), (0, 0)]),
        ("move_pages", [(0,), (PID,)], [(1,)]),
        ("kill", [(0, 9), (PID, 9), (-PID, 9)], [(1, 9), (-1, 9), (-1 - PID, 9)]),
        ("tgkill", [(PID, PID + 1, 6)], [(1, PID, 6)]),
        ("fcntl", [(3, 1), (3, 4, 8)], [(3, 8, 1), (3, 10, 9), (3, 15)]),
    ],
)
def test_what_is_done_to_itself_passes_and_what_is_done_to_others_does_not(
    machine: str, name: str, own: list[tuple[int, ...]], others: list[tuple[int, ...]]
) -> None:
    assert {ask(machine, name, *arguments) for arguments in own} == {ALLOWED}
    assert {ask(machine, name, *arguments) for arguments in others} == {REFUSED}


@machines
def test_threads_that_are_bound_by_their_numbers_go_on_where_they_are(machine: str) -> None:
    assert ask(machine, "sched_setaffinity", 0) == ask(machine, "sched_setaffinity", PID) == ALLOWED
    assert ask(machine, "sched_setaffinity", PID + 1) == DONE


@machines
def test_network_and_signals_are_refused_only_where_they_are_closed(machine: str) -> None:
    for name, opened in (("socket", {"network": True}), ("kill", {"signals": True}), ("fcntl", {"signals": True})):
        assert ask(machine, name, 1, 8) == REFUSED
        assert ask(machine, name, 1, 8, **opened) == ALLOWED
    for name in ("shmget", "keyctl", "ptrace", "pidfd_open", "inotify_add_watch", "fanotify_init", "io_uring_setup"):
        assert ask(machine, name, network=True, signals=True) == REFUSED


@machines
def test_attributes_of_files_are_answered_as_where_the_file_system_keeps_none(machine: str) -> None:
    names = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")
    for name in (*names, "setxattrat", "removexattrat", "file_setattr"):
        assert ask(machine, name, network=True, signals=True) == UNSUPPORTED


@machines
def test_a_program_of_another_kind_has_no_calls_at_all(machine: str) -> None:
    lines = program(machine, [Rule(1, 1)])
    assert answer(lines, 2, mark=MARKS[machine]) == ALLOWED
    assert answer(lines, 2, mark=0x40000003) == answer(lines, 2, mark=0x40000028) == REFUSED
    with_short_addresses = answer(lines, 0x40000000 | 2, mark=MARKS[machine])
    assert with_short_addresses == (REFUSED if machine == "x86_64" else ALLOWED)


IN_32_BITS = """
    import ctypes, mmap, os
    from loopwright.wire.system_calls import refuse, refused_to
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
    if {walled}:
        refuse(refused_to(os.getpid(), network=True, signals=True))
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("53 b8 14 00 00 00 cd 80 5b c3"))  # mov eax, 20 (getpid); int 0x80
    print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""


@needs_filter
@needs_x86
def test_calls_of_32_bits_are_no_way_around() -> None:
    def tried(walled: bool) -> str:
        command = [sys.executable, "-c", textwrap.dedent(IN_32_BITS.format(walled=walled))]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    if not tried(walled=False).isdigit():
        pytest.skip("this kernel has no calls of 32 bits")
    assert tried(walled=True) == str(-errno.EPERM)


@needs_filter
def test_what_it_starts_does_without_too() -> None:
    of_parent = f"resource.prlimit({os.getpid()}, resource.RLIMIT_CPU)"
    inner = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {of_parent}"
    text = f"""
        import ctypes, os, subprocess, sys
        from loopwright.wire.system_calls import refuse, refused_to
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
        refuse(refused_to(os.getpid(), network=True, signals=True))
        subprocess.run([sys.executable, "-c", {inner!r}])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, check=False)
    assert "PermissionError: [Errno 1]" in done.stderr
    assert of_parent in inner
    assert "setrlimit" not in done.stderr
