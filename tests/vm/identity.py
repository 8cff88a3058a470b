"""Running a function as somebody else: another user, with these capabilities, in other namespaces."""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from memtop.linux.features import probe_kernel

USER, OTHER = 1000, 1001
DAC_READ_SEARCH, SYS_PTRACE, PERFMON, CHECKPOINT_RESTORE = 2, 19, 38, 40
ALL = range(41)

NEWNS, NEWPID, NEWUSER = 0x20000, 0x20000000, 0x10000000
_SET_DUMPABLE, _SET_KEEPCAPS = 4, 8
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
codecs.lookup("ascii")  # what Python imports late another user may not be able to read


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Missing(Exception):
    """What this machine does not allow; the test is skipped."""


def _allowed(result: int, what: str) -> None:
    if result:
        raise Missing(f"{what} ({os.strerror(ctypes.get_errno())})")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _allowed(_libc.unshare(flags), "namespaces of one's own")


def become(uid: int, capabilities: Iterable[int] = ()) -> None:
    """This user, with these capabilities and no other; for good. As after an exec, it is dumpable."""
    _checked(_libc.prctl(_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if uid:
        mask = sum(1 << c for c in capabilities)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        low, high = mask & 0xFFFFFFFF, mask >> 32
        _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))
    _checked(_libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0))


def own_proc(options: str) -> None:
    """A /proc of this process's own, with mount options; nobody else sees it."""
    unshare(NEWNS)
    _allowed(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "a private /")
    _allowed(_libc.mount(b"proc", b"/proc", b"proc", 0, options.encode()), "a /proc of one's own")


def root_of_user_namespace() -> None:
    """Root in a user namespace of its own, which is the same user outside."""
    uid, gid = os.getuid(), os.getgid()
    unshare(NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def skip_or_fail(missing: str) -> None:
    """In a container not all of this may be allowed; in a guest it is."""
    assert "MEMTOP_GUEST" not in os.environ, missing
    pytest.skip(f"missing capability: {missing}")


def answer_of(prepare: Callable[[], None], work: Callable[[], Any]) -> Any:
    """What ``work`` returns (as JSON carries it) in a child that ``prepare`` has made somebody else."""
    reader, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            probe_kernel.cache_clear()
            text = json.dumps({"answer": work()})
        except Missing as error:
            text = json.dumps({"missing": str(error)})
        except BaseException:
            text = json.dumps({"failure": traceback.format_exc()})
        os.write(end, text.encode())
        os._exit(0)
    os.close(end)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    told = json.loads(text)
    if "missing" in told:
        skip_or_fail(told["missing"])
    assert "failure" not in told, told["failure"]
    return told["answer"]
