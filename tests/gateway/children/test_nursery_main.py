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
    nursery._listen = lambda: True
    os.kill(child, signal.SIGKILL)
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
