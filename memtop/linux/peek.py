"""Contents of one page of another process, read without bringing anything in.

Reading populates: it would give a hole a page, map neighbours of a file page, swap in what is out
(process_vm_readv(2), proc_pid_mem(5)). So a page is read only when a look right before says that it is
present; what changes in the microseconds between the two is the one gap that is left.
"""

from __future__ import annotations

import errno
import os
import time

from memtop.linux.access import require_peek
from memtop.linux.pagemap import Scanner
from memtop.model.layout import PAGE
from memtop.model.peek import PageFlags, Peek
from memtop.native import ffi, lib


def look(scanner: Scanner, address: int, pages: int) -> Peek:
    """What the pages of a range are; nothing is read.

    Args:
        address: byte address of the first page.

    Raises:
        MemtopError: it could not be looked at.
    """
    return Peek(address, time.time(), scanner.look(address, address + pages * PAGE))


def peek(pid: int, scanner: Scanner, address: int, pages: int) -> Peek:
    """Contents of the first page of a range that is present; else why there are none.

    Args:
        pid: of the process whose address space the scanner holds, or of a live thread of it.

    Raises:
        ProcessGone: it ended, or ran exec, before or while it was read.
        NotPermitted: ``--readonly`` without ``--peek``.
        MemtopError: anything else.
    """
    require_peek(f"reading memory of process {pid}")
    first = scanner.look(address, address + pages * PAGE).first_present
    address = address if first is None else first
    flags = scanner.look(address, address + PAGE)
    why_not = _why_not(flags)
    if flags.zero:
        return Peek(address, time.time(), flags, bytes(PAGE), "the zero page: it was read, but never written")
    if why_not:
        return Peek(address, time.time(), flags, None, why_not)
    contents, why_not = _read(pid, address)
    when = time.time()
    # The scanner is bound to one address space, a pid is not: if that one still stands, it was read.
    scanner.look(address, address + PAGE)
    return Peek(address, when, flags, contents, why_not)


def _why_not(flags: PageFlags) -> str:
    if flags.guard:
        return "a guard page: there is nothing in it, and whoever touches it gets a signal"
    if flags.swapped and flags.tracked:
        return "swapped out, or given back (where writes are tracked the two look alike): not read"
    if flags.swapped:
        return "swapped out: not read, because that would swap it in"
    if not flags.present:
        return "not resident: not read, because that would make a page, or map one of a file"
    return ""


def _read(pid: int, address: int) -> tuple[bytes | None, str]:
    buffer = bytearray(PAGE)
    got = lib.mt_read_memory(pid, address, ffi.from_buffer(buffer), PAGE)
    if got == PAGE:
        return bytes(buffer), ""
    # PROT_NONE: only the mem file looks past the protection.
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return None, _refused(-got if error.errno is None else error.errno)
    try:
        contents = os.pread(fd, PAGE, address)
    except OSError as error:
        return None, _refused(error.errno or 0)
    finally:
        os.close(fd)
    if len(contents) != PAGE:
        return None, "not read: it went away meanwhile"
    return contents, "not accessible to the process itself (PROT_NONE): read through /proc/PID/mem"


def _refused(error: int) -> str:
    if error in (errno.EPERM, errno.EACCES):
        return "not permitted: it takes the right to trace the process; run memtop as its user or as root"
    if error in (errno.EFAULT, errno.EIO):
        return "the kernel reads it for nobody: secret memory, device memory, or a page that failed"
    return f"not read: {os.strerror(error)}"
