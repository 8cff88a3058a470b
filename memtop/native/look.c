/* One PAGEMAP_SCAN call, see Documentation/admin-guide/mm/pagemap.rst. */
#include <errno.h>

#include "scan.h"

#define LONG_CALL 500000 /* ns: the target waited long enough, search less at once */
#define SHORT_CALL 100000
#define LONGEST_STRIDE (16ull << 30) /* emptied page tables of this much cost some milliseconds, once */

int look_call(const area *a, const look *l, scan_arg *arg, page_region *vec, uint64_t room) {
    arg->size = sizeof *arg;
    arg->flags = l->flags;
    arg->vec = (uint64_t)(uintptr_t)vec;
    arg->vec_len = room; /* never 0: the kernel would ignore the masks */
    arg->category_inverted = l->inverted;
    arg->category_mask = l->mask;
    arg->category_anyof_mask = l->anyof;
    arg->return_mask = l->returns;
    int got = ioctl(a->fd, SCAN_IOCTL, arg);
    return got < 0 ? -errno : got;
}

uint64_t look_resume(const scan_arg *arg, const page_region *last) {
    return arg->walk_end > last->end ? arg->walk_end : last->end;
}

int look_plain(const area *a, const look *l, uint64_t *at, uint64_t end, uint64_t max_pages, page_region *vec,
               uint64_t room) {
    mt_scan *scan = a->scan;
    if (end - *at > scan->stride)
        end = *at + scan->stride;
    scan_arg arg = {.start = *at, .end = end, .max_pages = max_pages};
    int64_t began = mt_now_ns();
    int got = look_call(a, l, &arg, vec, room);
    int64_t took = mt_now_ns() - began;
    if (got < 0)
        return got;
    uint64_t pages = 0;
    for (int i = 0; i < got; i++)
        pages += (vec[i].end - vec[i].start) / MT_PAGE;
    bool all = (uint64_t)got < room && pages < max_pages;
    if (took > LONG_CALL && scan->stride > SLICE)
        scan->stride /= 4;
    else if (took < SHORT_CALL && all && scan->stride < LONGEST_STRIDE)
        scan->stride *= 4;
    *at = all ? end : look_resume(&arg, &vec[got - 1]);
    return got;
}

uint64_t skip_gap(const area *a, size_t *i, uint64_t at) {
    while (*i < a->last && a->items[*i].end <= at)
        ++*i;
    return *i < a->last && a->items[*i].start > at ? a->items[*i].start : at;
}
