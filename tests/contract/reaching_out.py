"""What a process can do to one outside of it, and share with it: runs as user code, and so by itself.

Calls are made by name where the C library has them, else by number, as the kernel's headers give it. Each answers the
number of an error, or 0.
"""

import ctypes
import json
import os
import platform
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answers = dict[str, int]
LIBC = ctypes.CDLL(None, use_errno=True)
# x86-64, ARM64
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "ioprio_get": (252, 31),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mq_getsetattr": (245, 185),
    "mq_notify": (244, 184),
    "mq_open": (240, 180),
    "mq_timedreceive": (243, 183),
    "mq_timedsend": (242, 182),
    "mq_unlink": (241, 181),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setattr": (314, 274),
    "semtimedop": (220, 192),
    "tkill": (200, 130),
    "userfaultfd": (323, 282),
}
OF_TIME, OF_SIZE, OF_FILES = 0, 1, 7
IDLE = 5


def do(name: str, *arguments: Any) -> int:
    """Make one call; return the number of its error, or 0."""
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    ctypes.set_errno(0)
    if name in NUMBERS:
        number = NUMBERS[name][platform.machine() != "x86_64"]
        answer = LIBC.syscall(ctypes.c_long(number), *given)
    else:
        answer = getattr(LIBC, name)(*given)
    return ctypes.get_errno() if answer == -1 else 0


def bound(pid: int) -> Answers:
    """Bound, slow and pin another: what needs nothing but the same user."""
    nothing, one_processor = struct.pack("QQ", 0, 0), struct.pack("Q", 1)
    idle = struct.pack("IIQiIQQQ", 48, IDLE, 0, 0, 0, 0, 0, 0)
    return {
        "no bytes": do("prlimit", pid, OF_SIZE, nothing, None),
        "no files": do("prlimit", pid, OF_FILES, nothing, None),
        "no time": do("prlimit", pid, OF_TIME, struct.pack("QQ", 1, 1), None),
        "nice": do("setpriority", 0, pid, 19),
        "idle by attributes": do("sched_setattr", pid, idle, 0),
        "idle": do("sched_setscheduler", pid, IDLE, struct.pack("i", 0)),
        "parameters": do("sched_setparam", pid, struct.pack("i", 0)),
        "disk last": do("ioprio_set", 1, pid, 3 << 13),
        "one processor": do("sched_setaffinity", pid, 8, one_processor),
    }


def touch(pid: int) -> Answers:
    """Read, write and trace another, and bound all of a user's at once."""
    memory = ctypes.create_string_buffer(64)
    held = struct.pack("PQ", ctypes.addressof(memory), 64)
    return {
        "limits": do("prlimit", pid, OF_FILES, None, memory),
        "nice of a group": do("setpriority", 1, os.getpgid(pid), 19),
        "disk last of a group": do("ioprio_set", 2, os.getpgid(pid), 3 << 13),
        "pages moved": do("move_pages", pid, 0, None, None, None, 0),
        "pages of a node": do("migrate_pages", pid, 8, bytes(8), bytes(8)),
        "traced": do("ptrace", 16, pid, 0, 0),
        "read": do("process_vm_readv", pid, held, 1, held, 1, 0),
        "written": do("process_vm_writev", pid, held, 1, held, 1, 0),
        "advised": do("process_madvise", 0, held, 1, 20, 0),
        "freed": do("process_mrelease", 0, 0),
        "compared": do("kcmp", pid, pid, 0, 0, 0),
        "opened": do("pidfd_open", pid, 0),
        "file taken": do("pidfd_getfd", 0, 0, 0),
        "signal by handle": do("pidfd_send_signal", os.open(f"/proc/{pid}", os.O_RDONLY), 0, None, 0),
        "watched": do("perf_event_open", bytes(128), pid, -1, -1, 0),
        "program": do("bpf", 0, bytes(128), 128),
        "faults": do("userfaultfd", 1),
    }


def bound_all(pid: int) -> Answers:
    """Bound all processes of a user, ``pid`` among them: by what is usual, for it would not stop at that one."""
    return {
        "nice": do("setpriority", 2, 0, 0),
        "disk": do("ioprio_set", 3, Path(f"/proc/{pid}").stat().st_uid, 0),
    }


def signal(pid: int) -> Answers:
    """Signal another by its number, with 0, which nobody hears."""
    own_word = struct.pack("iii", 0, 0, -1) + bytes(116)
    return {
        "process": do("kill", pid, 0),
        "group": do("kill", -os.getpgid(pid), 0),
        "thread": do("tkill", pid, 0),
        "thread of a process": do("tgkill", pid, pid, 0),
        "queued": do("rt_sigqueueinfo", pid, 0, own_word),
        "queued for a thread": do("rt_tgsigqueueinfo", pid, pid, 0, own_word),
    }


def share(pid: int) -> Answers:
    """Open what has no path and is one for all processes of a user, ``pid`` among them."""
    key = 4242 + pid
    return {
        "memory": do("shmget", key, 4096, 0o1600),
        "memory joined": do("shmat", 1, None, 0),
        "memory asked": do("shmctl", 1, 0, None),
        "semaphores": do("semget", key, 1, 0o1600),
        "semaphore": do("semop", 1, bytes(6), 1),
        "semaphore in time": do("semtimedop", 1, bytes(6), 1, None),
        "semaphore asked": do("semctl", 1, 0, 0, None),
        "messages": do("msgget", key, 0o1600),
        "message": do("msgsnd", 1, bytes(16), 1, 0),
        "message read": do("msgrcv", 1, bytes(16), 1, 0, 0),
        "messages asked": do("msgctl", 1, 0, None),
        "queue": do("mq_open", b"q", 0o102, 0o600, None),
        "queue gone": do("mq_unlink", b"q"),
        "queue sent": do("mq_timedsend", 0, b"x", 1, 0, None),
        "queue read": do("mq_timedreceive", 0, bytes(8), 8, None, None),
        "queue told": do("mq_notify", 0, None),
        "queue asked": do("mq_getsetattr", 0, None, None),
        "key": do("add_key", b"user", b"k", b"v", 1, -3),
        "key asked": do("request_key", b"user", b"k", None, -3),
        "keys": do("keyctl", 0, -3, 1),
    }


def on_itself() -> Answers:
    """Do what libraries do to their own process, and to what they start."""
    memory = ctypes.create_string_buffer(128)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    child = subprocess.Popen(["sleep", "600"])
    return {
        "limits": do("prlimit", 0, OF_FILES, None, memory),
        "limits by number": do("prlimit", os.getpid(), OF_FILES, None, memory),
        "nice": do("setpriority", 0, os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)),
        "processors asked": 0 if LIBC.sched_getaffinity(os.getpid(), 128, memory) >= 0 else ctypes.get_errno(),
        "disk": do("ioprio_set", 1, 0, 2 << 13 | 4),
        "signal": do("kill", os.getpid(), 0),
        "child": do("kill", child.pid, 9),
    }


def everything(pid: int) -> dict[str, Answers]:
    """Try all that reaches another process."""
    works: list[Callable[[int], Answers]] = [bound, touch, bound_all, signal, share]
    return {work.__name__: work(pid) for work in works}


def from_everywhere(pid: int) -> dict[str, dict[str, Answers]]:
    """Return what is answered to this process, to a thread, a fork and a program that it starts."""
    told = {"itself": everything(pid)}
    thread = threading.Thread(target=lambda: told.update(thread=everything(pid)))
    thread.start()
    thread.join()
    reads, writes = os.pipe()
    if not (forked := os.fork()):
        os.write(writes, json.dumps(everything(pid)).encode())
        os._exit(0)
    os.waitpid(forked, 0)
    told["fork"] = json.loads(os.read(reads, 65536))
    started = subprocess.run([sys.executable, __file__, str(pid)], stdout=subprocess.PIPE, check=True)
    told["program"] = json.loads(started.stdout)
    return told


def state_of(pid: int) -> dict[str, Any]:
    """Return what of another process these calls change."""
    return {
        "limits": Path(f"/proc/{pid}/limits").read_text(),
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "processors": sorted(os.sched_getaffinity(pid)),
        "scheduler": os.sched_getscheduler(pid),
        "disk": LIBC.syscall(NUMBERS["ioprio_get"][platform.machine() != "x86_64"], 1, pid),
    }


if __name__ == "__main__":
    print(json.dumps(everything(int(sys.argv[1]))))
