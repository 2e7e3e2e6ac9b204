"""Walls: what a process that raised them can still open, on this kernel."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.wire.system_calls import can_filter
from loopwright.wire.walls import carve, do_within, landlock_version

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
needs_filter = pytest.mark.skipif(not can_filter(), reason="this kernel filters no system calls (seccomp)")
needs_scopes = pytest.mark.skipif(landlock_version() < 6, reason="this kernel has no scopes of Landlock")

PROGRAM = """
import ctypes, fcntl, json, os, resource, shutil, signal, socket, subprocess, sys
from loopwright.wire import walls
asked = json.loads(sys.argv[1])
if version := asked.pop("version", None):
    walls.landlock_version = lambda: version  # an older kernel
print(json.dumps({"holds": walls.raise_walls(asked)}), flush=True)
def tried(work):
    try:
        return {"got": str(work())}
    except OSError as error:
        return {"refused": type(error).__name__}
libc = ctypes.CDLL(None, use_errno=True)
def called(name, *arguments):
    answer = getattr(libc, name)(*arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), name)
    return answer
parent = os.getppid()
print(json.dumps([tried(eval("lambda: " + one)) for one in sys.argv[2:]]))
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    (folder / "own" / "scratch").mkdir(parents=True)
    (folder / "own" / "in").mkdir()
    (folder / "own" / "in" / "rows").write_text("rows")
    (folder / "own" / "store").mkdir()
    (folder / "service.token").write_text("lws_secret")
    (tmp_path / "plain").write_text("plain")
    return folder


@pytest.fixture
def behind(state: Path) -> Callable[..., list[dict[str, str]]]:
    """Evaluate expressions in a process behind walls; says for each what it got, or what refused it."""

    def evaluate(*expressions: str, **changes: Any) -> list[dict[str, str]]:
        own = state / "own"
        walls = {
            "reads": ["/", str(own / "in")],
            "writes": [str(own / "scratch"), "/dev/null"],
            "plain": [str(own / "store")],
            "hidden": [str(state), "/dev"],
            "network": True,
            "signals": True,
            **changes,
        }
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(walls), *expressions]
        environment = {**os.environ, "SECRET": "lws_secret"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=own / "scratch")
        holds, *answers = map(json.loads, done.stdout.splitlines())
        assert "files" in holds["holds"]
        return list(answers[0])

    return evaluate


@needs_landlock
def test_what_is_hidden_cannot_be_read_whatever_way_is_taken(behind: Callable[..., Any], state: Path) -> None:
    token = state / "service.token"
    answers = behind(
        f"open({str(token)!r}).read()",
        f"(os.chdir({str(state)!r}), open('service.token').read())",
        f"(os.symlink({str(token)!r}, 'link'), open('link').read())",
        f"os.link({str(token)!r}, 'linked')",
        f"os.rename({str(token)!r}, 'moved')",
        f"open('/proc/self/root{token}').read()",
        "open('../../service.token').read()",
        f"os.listdir({str(state)!r})",
        f"os.truncate({str(token)!r}, 0)",
    )
    assert [set(answer) for answer in answers] == [{"refused"}] * len(answers), answers
    assert token.read_text() == "lws_secret"
    shown = behind(f"subprocess.run(['cat', {str(token)!r}], capture_output=True).stdout")
    assert shown == [{"got": "b''"}]


@needs_landlock
def test_what_is_open_can_be_used(behind: Callable[..., Any], state: Path) -> None:
    answers = behind(
        f"open({str(state / 'own' / 'in' / 'rows')!r}).read()",
        f"open({str(state.parent / 'plain')!r}).read()",
        "open('made', 'w').write('x')",
        "(os.mkdir('deep'), os.rename('made', 'deep/made'), os.listdir('deep'))",
        "open('/dev/null', 'w').write('x')",
        "subprocess.run(['true']).returncode",
        "len(open('/proc/self/status').read()) > 9",
    )
    assert all("got" in answer for answer in answers), answers
    refused = behind(
        f"open({str(state / 'own' / 'in' / 'rows')!r}, 'w')",
        f"os.rename({str(state / 'own' / 'in' / 'rows')!r}, 'mine')",
        f"open({str(state.parent / 'plain')!r}, 'w')",
        f"open({str(state.parent / 'new')!r}, 'w')",
    )
    assert all("refused" in answer for answer in refused), refused


@needs_landlock
@needs_filter
def test_nobody_watches_what_happens_in_folders(behind: Callable[..., Any], state: Path) -> None:
    answers = behind(
        f"called('inotify_add_watch', called('inotify_init1', 0), {str(state)!r}.encode(), 0xfff)",
        "called('inotify_add_watch', called('inotify_init1', 0), b'.', 0xfff)",
        "called('fanotify_init', 0x200, 0)",
        "called('syscall', 425, 1, None)",  # io_uring does calls that no filter sees
    )
    assert answers == [{"refused": "PermissionError"}] * len(answers)


@needs_landlock
@needs_filter
def test_files_keep_their_attributes_and_programs_that_copy_them_go_on(behind: Callable[..., Any], state: Path) -> None:
    token, plain = str(state / "service.token"), str(state.parent / "plain")
    answers = behind(
        f"os.setxattr({token!r}, 'user.x', b'y')",
        f"os.setxattr({token!r}, 'user.x', b'y', follow_symlinks=False)",
        f"os.setxattr(os.open({plain!r}, os.O_RDONLY), 'user.x', b'y')",
        f"os.removexattr({token!r}, 'user.x')",
    )
    assert answers == [{"refused": "OSError"}] * len(answers), answers
    assert os.listxattr(token) == os.listxattr(plain) == []
    shown = behind(
        f"shutil.copy2({plain!r}, 'copied')",
        f"subprocess.run(['cp', '-a', {plain!r}, 'whole'], check=True)",
        "subprocess.run(['install', '-m', '755', 'whole', 'installed'], check=True)",
        "subprocess.run(['sed', '-i', 's/p/q/', 'whole'], check=True, capture_output=True).stderr",
    )
    assert all("got" in answer for answer in shown), shown


@needs_landlock
def test_where_others_open_files_too_plain_ones_alone_are_made(behind: Callable[..., Any], state: Path) -> None:
    store = state / "own" / "store"
    answers = behind(
        f"os.chdir({str(store)!r})",
        "(open('made', 'w').write('x'), os.rename('made', 'file'), os.truncate('file', 0), os.listdir('.'))",
        "(open('more', 'w').write('x'), os.unlink('more'), os.link('file', 'same'))",
    )
    assert all("got" in answer for answer in answers), answers
    refused = behind(
        f"os.symlink('/tmp/x', {str(store / 'link')!r})",
        f"(os.symlink('/tmp/x', 'link'), os.rename('link', {str(store / 'link')!r}))",
        f"os.mkfifo({str(store / 'pipe')!r})",
        f"socket.socket(socket.AF_UNIX).bind({str(store / 'socket')!r})",
        f"os.mkdir({str(store / 'folder')!r})",
        f"(open('mine', 'w').close(), os.link('mine', {str(store / 'mine')!r}))",
    )
    assert all("refused" in answer for answer in refused), refused


@needs_landlock
def test_a_thread_that_is_to_write_in_one_folder_writes_nowhere_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("kept")
    (inside / "link").symlink_to(outside)
    (inside / "new").symlink_to(tmp_path / "made")

    def attempt(work: Callable[[], Any]) -> str:
        try:
            return str(do_within(str(inside), work))
        except OSError as error:
            return type(error).__name__

    assert attempt(lambda: (inside / "plain").write_text("x")) == "1"
    assert attempt(lambda: (inside / "link").read_text()) == "kept"
    for work in (
        lambda: (inside / "link").write_text("x"),
        lambda: (inside / "new").write_text("x"),
        lambda: outside.unlink(),
        lambda: (inside / "plain").rename(tmp_path / "moved"),
    ):
        assert attempt(work) in ("PermissionError", "OSError")
    assert outside.read_text() == "kept"
    (tmp_path / "made").write_text("this thread, and those that it starts later, go where they went")


@needs_landlock
def test_the_process_outside_is_out_of_reach(behind: Callable[..., Any]) -> None:
    answers = behind(
        "open(f'/proc/{parent}/environ').read()",
        "open(f'/proc/{parent}/mem', 'rb')",
        "open(f'/proc/{parent}/maps').read(1)",
        "open(f'/proc/{parent}/fd/1').read()",
        "open(f'/proc/{parent}/cwd/service.token')",
    )
    assert all("refused" in answer for answer in answers), answers


@needs_scopes
def test_the_process_outside_hears_no_signal(behind: Callable[..., Any]) -> None:
    assert behind("os.kill(parent, 0)") == [{"refused": "PermissionError"}]


def test_where_the_kernel_has_no_scopes_a_filter_keeps_signals_in(behind: Callable[..., Any]) -> None:
    if not landlock_version() or not can_filter():
        pytest.skip("this kernel has no Landlock, or filters no system calls (seccomp)")
    outside = (
        "os.kill(parent, 0)",
        "os.kill(-1, 0)",
        "os.killpg(os.getppid(), 0)",
        "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, parent)",
        "subprocess.run(['sleep', '1'], timeout=0.1)",
    )
    assert behind(*outside, version=5, signals=False) == [{"refused": "PermissionError"}] * len(outside)
    own = ("os.kill(os.getpid(), 0)", "os.kill(0, 0)", "signal.raise_signal(signal.SIGCHLD)")
    assert behind(*own, version=5, signals=False) == [{"got": "None"}] * len(own)
    assert behind("os.kill(parent, 0)", version=5) == [{"got": "None"}]


@needs_landlock
def test_without_a_network_no_socket_is_had(behind: Callable[..., Any]) -> None:
    connect = "socket.create_connection(('127.0.0.1', 9))"
    assert behind(connect) == [{"refused": "ConnectionRefusedError"}]
    assert behind(connect, "socket.socket(socket.AF_UNIX)", network=False) == [{"refused": "PermissionError"}] * 2


@needs_landlock
def test_root_is_nobody_behind_walls(behind: Callable[..., Any]) -> None:
    answers = behind("os.mknod('disk', 0o60600, os.makedev(254, 0))", "os.chown('.', 1, 1)", "os.setuid(12345)")
    assert all("refused" in answer for answer in answers), answers


def test_a_second_thread_would_stand_outside(tmp_path: Path) -> None:
    program = """
        import threading, time
        from loopwright.wire.walls import raise_walls
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
        raise_walls({"reads": ["/"], "writes": [], "plain": [], "hidden": [], "network": True, "signals": True})
    """
    if landlock_version():
        command = [sys.executable, "-c", textwrap.dedent(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "before a second thread starts" in done.stderr


def test_what_is_hidden_is_carved_out_of_what_is_open(tmp_path: Path) -> None:
    for name in ("a/b/hidden", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "b" / "hidden")
    root = str(tmp_path)
    assert list(carve(root, [])) == [root]
    assert list(carve(root, [root])) == []
    assert list(carve(root, ["/elsewhere"])) == [root]
    assert list(carve(root, [f"{root}/a/b/hidden"])) == [f"{root}/a/c", f"{root}/d"]
    assert list(carve(root, [f"{root}/a"])) == [f"{root}/d"]
    assert list(carve(f"{root}/a/b/hidden", [f"{root}/a/b"])) == [f"{root}/a/b/hidden"]
