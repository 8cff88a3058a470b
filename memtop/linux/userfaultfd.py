"""Asynchronous write protection of another process's mappings, see ioctl_userfaultfd(2).

Registering a mapping changes nothing yet: the first write-protecting scan (``linux.pagemap``) arms it.
When the descriptor is closed, or its holder killed, the kernel takes all of it back.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Sequence
from functools import lru_cache

from memtop.linux.access import require_action
from memtop.linux.closing import Closing
from memtop.linux.errors import Failed, KernelCannot
from memtop.model.mapping import MappingTable
from memtop.native import ffi, lib


@lru_cache(maxsize=1)
def fault_seconds() -> float | None:
    """What one write fault on a protected page costs on this host, measured once, on memory of memtop's own,
    within about a millisecond; None where it can't be measured."""
    require_action("measuring a write fault")
    nanoseconds = lib.mt_fault_ns()
    return nanoseconds / 1e9 if nanoseconds > 0 else None


class WriteProtector(Closing):
    """Owns a userfaultfd of a target's address space.

    Args:
        fd: a new userfaultfd (``ptrace.create_userfaultfd``); becomes this object's, also when it raises.

    Raises:
        KernelCannot: no asynchronous write protection here (before Linux 6.7, or not this processor).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            require_action("write-protecting")
            error = -lib.mt_uffd_api(fd)
            if error == errno.EINVAL:
                raise KernelCannot(
                    "write-protect tracking is not possible",
                    "the kernel has no asynchronous write protection (userfaultfd WP_ASYNC)",
                    "Linux 6.7 or later on x86-64, arm64 or riscv64 has it",
                )
            if error:
                raise Failed("write-protect tracking could not start", f"UFFDIO_API: {os.strerror(error)}")
        except BaseException:
            self.close()
            raise

    def register(self, table: MappingTable, indices: Sequence[int]) -> dict[int, int]:
        """Registers mappings of the table, each one whole.

        Returns:
            Index to errno of those refused: EBUSY another userfaultfd has it, EPERM a file opened
            read-only, EINVAL not this kind of memory, ENOMEM or ENOENT it is gone.
        """
        require_action("write-protecting")
        wanted, errors = array("I", indices), array("i", bytes(4 * len(indices)))
        lib.mt_uffd_register_many(
            self._fd,
            ffi.from_buffer("mt_mapping[]", table.packed),
            ffi.from_buffer("uint32_t[]", wanted),
            len(wanted),
            ffi.from_buffer("int32_t[]", errors),
        )
        return {index: error for index, error in zip(wanted, errors, strict=True) if error}

    def register_range(self, start: int, length: int) -> int:
        """Registers a part of a mapping (bytes), which cuts it in maps; 0 or errno as in ``register``."""
        require_action("write-protecting")
        return -int(lib.mt_uffd_register(self._fd, start, length))

    def fileno(self) -> int:
        """The descriptor, for ``pagemap.Scanner.unprotect``; stays this object's."""
        return self._fd

    def unregister(self, start: int, length: int) -> None:
        """Ends tracking of a range (bytes); its protection is gone at once.

        Raises:
            Failed: nothing mapped there, or mapped by something that can't be registered.
        """
        error = -lib.mt_uffd_unregister(self._fd, start, length)
        if error:
            raise Failed(f"tracking of {start:#x} could not be ended", os.strerror(error))

    def close(self) -> None:
        """Gives back everything. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
