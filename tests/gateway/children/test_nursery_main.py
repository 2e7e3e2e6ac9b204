"""The nursery's last moments: its gateway is gone, its children end, and nothing is said about it."""

import subprocess
import sys

import pytest

LAST_MOMENTS = """
import os, signal, socket, sys
from contextlib import suppress
from loopwright.gateway.children.nursery_main import NurseryProcess

ours, theirs = socket.socketpair()
nursery = NurseryProcess(theirs)
child = os.fork()
if child == 0:
    os.setsid()
    ours.close(), theirs.close()
    signal.pause()
    os._exit(0)
nursery._alive.add(child)
while os.getpgid(child) != child:
    pass
ours.close()
if sys.argv[1] == "the child ends too":  # what is told of it finds nobody
    nursery._listen = lambda: os.kill(child, signal.SIGKILL) is None
with suppress(BrokenPipeError):
    nursery.run()
signal.raise_signal(signal.SIGCHLD)  # a child that ends late
if sys.argv[1] == "it hangs up":
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


@pytest.mark.parametrize("ending", ["it hangs up", "the child ends too"])
def test_a_child_that_ends_after_its_gateway_is_no_trouble(ending: str) -> None:
    run = subprocess.run([sys.executable, "-c", LAST_MOMENTS, ending], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


LETS_GO = """
import os, signal, socket, sys, threading
from contextlib import suppress
from loopwright.gateway.children.nursery_main import NurseryProcess

ours, theirs = socket.socketpair()
nursery, (ready, told) = NurseryProcess(theirs), os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.write(told, b"%d" % os.getpid())
        signal.pause()
    signal.pause()
nursery._alive.add(child)
left = int(os.read(ready, 20))

def look():
    while signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL:  # it does not hear yet that a child ends
        pass
    os.kill(child, signal.SIGKILL)
    assert ours.recv(1)  # that it has ended
    print(os.path.exists(f"/proc/{left}"))
    ours.close()

threading.Thread(target=look).start()
with suppress(ConnectionResetError):
    nursery.run()
"""


def test_what_a_child_let_go_of_ends_with_it() -> None:
    """In a session of its own it would run for ever beside the functions of other projects."""
    run = subprocess.run([sys.executable, "-c", LETS_GO], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "False\n", "")
