/* One look at some pages, and their contents: what a person asks for by a key. Neither changes anything in the
 * target as long as only pages are read that the look found present. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "scan.h"

#define ROUND 512 /* regions a call: the kernel's own buffer */

int mt_look(int pagemap_fd, uint64_t start, uint64_t end, uint32_t guard_bit, mt_looked *out) {
    page_region regions[ROUND];
    uint64_t all = PAGE_WPALLOWED | PAGE_WRITTEN | PAGE_FILE | PAGE_PRESENT | PAGE_SWAPPED | PAGE_PFNZERO |
                   PAGE_HUGE;
    memset(out, 0, sizeof *out);
    while (start < end) {
        scan_arg arg = {
            .size = sizeof arg,
            .start = start,
            .end = end - start > GIGANTIC ? start + GIGANTIC : end,
            .vec = (uintptr_t)regions,
            .vec_len = ROUND,
            .max_pages = SLICE / MT_PAGE,
            .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED, /* holes are called written */
            .return_mask = all | guard_bit,
        };
        int got = ioctl(pagemap_fd, SCAN_IOCTL, &arg);
        if (got < 0)
            return -errno;
        start = arg.walk_end > start ? arg.walk_end : arg.end; /* never stands still */
        for (int i = 0; i < got; i++) {
            uint64_t is = regions[i].categories, pages = (regions[i].end - regions[i].start) / MT_PAGE;
            if (!(is & PAGE_WPALLOWED))
                is &= ~PAGE_WRITTEN; /* says nothing where nothing is tracked */
            for (int bit = 0; bit < 9; bit++)
                out->pages[bit] += is >> bit & 1 ? pages : 0;
            if (!out->first_present && is & PAGE_PRESENT)
                out->first_present = regions[i].start;
            start = start > regions[i].end ? start : regions[i].end;
        }
    }
    return 0;
}

int64_t mt_read_memory(int pid, uint64_t address, void *buffer, size_t length) {
    struct iovec here = {buffer, length}, there = {(void *)(uintptr_t)address, length};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return got < 0 ? -errno : got;
}
