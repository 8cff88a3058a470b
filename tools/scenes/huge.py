"""512 MiB in huge pages; an allocator gives small pages back, and splits a huge one each time."""

import mmap
import time

HUGE = 2 << 20
area = mmap.mmap(-1, 512 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_HUGEPAGE)
for page in range(0, len(area), 4096):
    area[page] = 1
for number in range(len(area) // HUGE * 3 // 4):
    time.sleep(0.25)
    area.madvise(mmap.MADV_DONTNEED, number * HUGE + number % 512 * 4096, 4096)
time.sleep(3600)
