"""The C core: parsing maps, scanning, copying and hashing pages, injecting one system call, stopping threads.

``lib`` and ``ffi`` are cffi's (API mode): ``api.h`` and ``dump.h`` beside this are their whole interface.
"""

from memtop.native._core import ffi, lib

__all__ = ["ffi", "lib"]
