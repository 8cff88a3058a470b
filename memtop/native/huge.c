/* Where the huge pages of a process are, and which of them its own writes have split since. */
#include <errno.h>
#include <stdlib.h>

#include "scan.h"

#define ROUND 512 /* regions a call: the kernel's own buffer */

int64_t mt_huge_find(int pagemap_fd, int huge, uint64_t *at, uint64_t end, mt_run *found, size_t room) {
    size_t count = 0;
    page_region regions[ROUND];
    while (*at < end && count < room) {
        scan_arg arg = {
            .size = sizeof arg,
            .start = *at,
            .end = mt_smaller((*at & ~(GIGANTIC - 1)) + GIGANTIC, end), /* crosses what is empty quickly */
            .vec = (uintptr_t)regions,
            .vec_len = mt_smaller(room - count, ROUND),
            .max_pages = SLICE / MT_PAGE,
            .category_inverted = PAGE_PFNZERO | (huge ? 0 : PAGE_HUGE),
            .category_mask = PAGE_PRESENT | PAGE_PFNZERO | PAGE_HUGE,
        };
        int got = ioctl(pagemap_fd, SCAN_IOCTL, &arg);
        if (got < 0)
            return -errno;
        uint64_t next = arg.walk_end;
        for (int i = 0; i < got; i++) {
            uint32_t pages = (uint32_t)((regions[i].end - regions[i].start) / MT_PAGE);
            mt_run *last = count ? &found[count - 1] : NULL;
            if (last && mt_run_end(last) == regions[i].start)
                last->pages += pages;
            else
                found[count++] = (mt_run){regions[i].start, pages, huge ? MT_RUN_HUGE : 0};
            next = next > regions[i].end ? next : regions[i].end;
        }
        *at = next;
    }
    return (int64_t)count;
}

/* Takes out of the huge runs every 2 MiB in which a small page was written. Returns how many those were. */
static int64_t take_split(const mt_run *huge, size_t huge_count, const mt_run *written, size_t written_count,
                          mt_run *left, size_t *left_count) {
    int64_t split = 0;
    size_t k = 0;
    *left_count = 0;
    for (size_t i = 0; i < huge_count; i++) {
        uint64_t at = huge[i].start, end = mt_run_end(&huge[i]);
        while (k < written_count && mt_run_end(&written[k]) <= at)
            k++;
        for (size_t w = k; w < written_count && written[w].start < end; w++) {
            if (written[w].flags & MT_RUN_HUGE)
                continue;
            uint64_t from = written[w].start & ~(MT_HUGE - 1);
            uint64_t to = (mt_run_end(&written[w]) + MT_HUGE - 1) & ~(MT_HUGE - 1);
            from = from > at ? from : at;
            to = mt_smaller(to, end);
            if (from >= to)
                continue; /* the same 2 MiB as the run before */
            if (from > at)
                left[(*left_count)++] = (mt_run){at, (uint32_t)((from - at) / MT_PAGE), MT_RUN_HUGE};
            split += (int64_t)((to - from) / MT_HUGE);
            at = to;
        }
        if (at < end)
            left[(*left_count)++] = (mt_run){at, (uint32_t)((end - at) / MT_PAGE), MT_RUN_HUGE};
    }
    return split;
}

int64_t mt_huge_follow(const mt_run *huge, size_t huge_count, const mt_run *written, size_t written_count,
                       mt_run *now, size_t *now_count) {
    mt_run *left = malloc((huge_count + 2 * written_count + 1) * sizeof *left);
    if (!left)
        return -ENOMEM;
    size_t left_count, fresh_count = 0;
    int64_t split = take_split(huge, huge_count, written, written_count, left, &left_count);
    mt_run *fresh = left + left_count;
    for (size_t i = 0; i < written_count; i++)
        if (written[i].flags & MT_RUN_HUGE)
            fresh[fresh_count++] = written[i];
    *now_count = mt_runs_union(left, left_count, fresh, fresh_count, now);
    free(left);
    return split;
}
