"""Calls of the system that user code goes without, refused by the kernel's filter (Linux, seccomp; x86-64 and ARM64).

Landlock stands around files, memory and signals. It lets a process bound, slow and pin another of the same user, share
what has a key and no path with it, watch folders and change attributes of files. Who tries is told ``EPERM``, which
Python raises as ``PermissionError``. The filter holds for all that the process starts, and is never lifted. Imports
nothing but the standard library, see ``wire.walls``.
"""

import ctypes
import errno
import functools
import os
import platform
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_MARK = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls the kind of call: another is one of a 32-bit program, whose numbers mean other things."""
_X32 = 0x40000000
"""From here on x86-64 has its calls a second time, for programs with short addresses."""
_SET_FILTER, _KEEP_SPECULATION = 1, 1 << 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _ANSWER = 0x20, 0x15, 0x35, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER_AT, _MARK_AT, _ARGUMENTS_AT = 0, 4, 16

Line = tuple[int, int, int, int]
"""An instruction: what to do, how many lines to skip if so and if not, and a value."""


class Rule(NamedTuple):
    """A call, and when it is refused.

    Args:
        x86_64: Its number there.
        aarch64: Its number there.
        where: Places of arguments with the values that are looked for, all of which must be found.
        passes: What becomes of the call where they are; elsewhere it is the opposite. Nothing looked for is found.
        told: Whoever is refused; 0 has it go on as if it had been done.
    """

    x86_64: int
    aarch64: int
    where: tuple[tuple[int, tuple[int, ...]], ...] = ()
    passes: bool = False
    told: int = errno.EPERM


_OF_ANOTHER = {
    "ptrace": Rule(101, 117),
    "kcmp": Rule(312, 272),
    "process_vm_readv": Rule(310, 270),
    "process_vm_writev": Rule(311, 271),
    "process_madvise": Rule(440, 440),
    "process_mrelease": Rule(448, 448),
    "pidfd_open": Rule(434, 434),  # whole, for who has one, asyncio among them, goes on to signal by it
    "pidfd_getfd": Rule(438, 438),
    "pidfd_send_signal": Rule(424, 424),
    "perf_event_open": Rule(298, 241),
    "bpf": Rule(321, 280),
    "userfaultfd": Rule(323, 282),
    "io_uring_setup": Rule(425, 425),  # does calls that no filter sees, those on sockets and attributes among them
}
_SHARED = {
    "shmget": Rule(29, 194),
    "shmat": Rule(30, 196),
    "shmctl": Rule(31, 195),
    "semget": Rule(64, 190),
    "semop": Rule(65, 193),
    "semctl": Rule(66, 191),
    "semtimedop": Rule(220, 192),
    "msgget": Rule(68, 186),
    "msgsnd": Rule(69, 189),
    "msgrcv": Rule(70, 188),
    "msgctl": Rule(71, 187),
    "mq_open": Rule(240, 180),
    "mq_unlink": Rule(241, 181),
    "mq_timedsend": Rule(242, 182),
    "mq_timedreceive": Rule(243, 183),
    "mq_notify": Rule(244, 184),
    "mq_getsetattr": Rule(245, 185),
    "add_key": Rule(248, 217),
    "request_key": Rule(249, 218),
    "keyctl": Rule(250, 219),
}
"""Memory, queues and keys of the system that every process of a user finds by a number or a name."""
_WATCHES = {
    "inotify_add_watch": Rule(254, 27),
    "fanotify_init": Rule(300, 262),
    "fanotify_mark": Rule(301, 263),
}
"""What tells of folders that cannot be opened, and by whom they are used."""
_ATTRIBUTES = {
    name: Rule(x86_64, aarch64, told=errno.EOPNOTSUPP)
    for name, x86_64, aarch64 in (
        *(("setxattr", 188, 5), ("lsetxattr", 189, 6), ("fsetxattr", 190, 7), ("setxattrat", 463, 463)),
        *(("removexattr", 197, 14), ("lremovexattr", 198, 15), ("fremovexattr", 199, 16)),
        *(("removexattrat", 466, 466), ("file_setattr", 469, 469)),
    )
}
"""What changes attributes and access lists of files by their path; ``cp -p`` and ``sed -i`` go on without them where
the file system is said to keep none, and end where they are told no."""
_NETWORK = {"socket": Rule(41, 198)}
"""A pair of sockets between threads and children stays."""


def _of_itself(pid: int) -> dict[str, Rule]:
    """Return calls that are for the process itself: it says 0, or its own number.

    What it forks has a number of its own, which no filter can know, and says 0.
    """
    own = (0, pid)
    first = ((0, own),)
    return {
        "prlimit64": Rule(302, 261, first, passes=True),
        # glibc binds each new thread by its number, which no filter knows: told no, OpenMP that is to bind its threads
        # (OMP_PROC_BIND) ends the process. Told yes, they run where the system puts them.
        "sched_setaffinity": Rule(203, 122, first, passes=True, told=0),
        "sched_setscheduler": Rule(144, 119, first, passes=True),
        "sched_setparam": Rule(142, 118, first, passes=True),
        "sched_setattr": Rule(314, 274, first, passes=True),
        "move_pages": Rule(279, 239, first, passes=True),
        "migrate_pages": Rule(256, 238, first, passes=True),
        # Of one process, never of all of this user's, which 0 means too where it is asked for those.
        "setpriority": Rule(141, 140, ((0, (0,)), (1, own)), passes=True),
        "ioprio_set": Rule(251, 30, ((0, (1,)), (1, own)), passes=True),
    }


def _signals(pid: int) -> dict[str, Rule]:
    """Return calls that signal by a number; a process's own children, whose numbers no filter knows, are out too."""
    first = ((0, (0, pid)),)
    return {
        "kill": Rule(62, 129, ((0, (0, pid, -pid & 0xFFFFFFFF)),), passes=True),
        "tkill": Rule(200, 130, first, passes=True),
        "tgkill": Rule(234, 131, first, passes=True),
        "rt_sigqueueinfo": Rule(129, 138, first, passes=True),
        "rt_tgsigqueueinfo": Rule(297, 240, first, passes=True),
        # Both have the kernel signal another when a file is ready: F_SETOWN, F_SETSIG, F_SETOWN_EX, and for sockets.
        "fcntl": Rule(72, 25, ((1, (8, 10, 15)),)),
        "ioctl": Rule(16, 29, ((1, (0x8901, 0x8902)),)),
    }


@functools.cache
def can_filter() -> bool:
    """Say whether this kernel filters calls, and those of this processor are known."""
    number = _SECCOMP.get(platform.machine())
    if sys.platform != "linux" or number is None or struct.calcsize("P") != 8:
        return False
    # It looks at the filter, of which there is none, only after it has understood all else.
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(number, _SET_FILTER, _KEEP_SPECULATION, None) == -1 and ctypes.get_errno() == errno.EFAULT


def refused_to(pid: int, *, network: bool, signals: bool) -> dict[str, Rule]:
    """Return what is refused to user code, by name.

    Args:
        pid: The process that is to do without.
        network: Whether it has one.
        signals: Whether it may signal others, as far as this filter goes.
    """
    more = {**({} if network else _NETWORK), **({} if signals else _signals(pid))}
    return {**_OF_ANOTHER, **_SHARED, **_WATCHES, **_ATTRIBUTES, **_of_itself(pid), **more}


def refuse(rules: dict[str, Rule]) -> None:
    """Have the kernel refuse these calls to this process, and to all it starts, for good.

    Raises:
        OSError: The kernel would not; see ``can_filter``.
    """
    machine = platform.machine()
    lines = program(machine, list(rules.values()))
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    described = struct.pack("@HP", len(lines), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    # Kernels before 5.16 would slow what is behind a filter down, against code that guesses inside of one process.
    if libc.syscall(_SECCOMP[machine], _SET_FILTER, _KEEP_SPECULATION, described):
        raise OSError(ctypes.get_errno(), f"no filter of calls: {os.strerror(ctypes.get_errno())}")


def program(machine: str, rules: Sequence[Rule]) -> list[Line]:
    """Return the filter: calls of another kind of program are refused, then those of the rules."""
    refused = (_ANSWER, 0, 0, _FAIL | errno.EPERM)
    lines = [(_LOAD, 0, 0, _MARK_AT), (_IF_EQUAL, 1, 0, _MARK[machine]), refused, (_LOAD, 0, 0, _NUMBER_AT)]
    if machine == "x86_64":
        lines += [(_IF_AT_LEAST, 0, 1, _X32), refused]
    for rule in rules:
        judged = list(_judge(rule))
        lines += [(_IF_EQUAL, 0, len(judged), getattr(rule, machine)), *judged]
    return [*lines, (_ANSWER, 0, 0, _ALLOW)]


def _judge(rule: Rule) -> Iterator[Line]:
    """Yield what is looked at once the number is right; it always ends in an answer.

    Of an argument the lower half alone counts, as with the kernel: those looked at are whole numbers of 32 bits.
    """
    allowed, refused = (_ANSWER, 0, 0, _ALLOW), (_ANSWER, 0, 0, _FAIL | rule.told)
    found, otherwise = (allowed, refused) if rule.passes else (refused, allowed)
    for place, values in rule.where:
        yield (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place)
        for left, value in zip(range(len(values), 0, -1), values, strict=True):
            yield (_IF_EQUAL, left, 0, value)
        yield otherwise
    yield found
