"""The C core: parsing maps, scanning pages, counting, injecting one system call.

``lib`` and ``ffi`` are cffi's (API mode): ``memtop/native/api.h`` is their whole interface.
"""

from memtop.native._core import ffi, lib

__all__ = ["ffi", "lib"]
