/*
 * What the pages of a process are, and which were written: PAGEMAP_SCAN, see
 * Documentation/admin-guide/mm/pagemap.rst.
 *
 * A call holds the target's mmap lock for reading, so it never walks more than a slice of populated
 * memory; empty address space is crossed by searching for the next page.
 */
#include "scan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONG_CALL 500000 /* ns: the target waited long enough, search less at once */
#define SHORT_CALL 100000
#define SPARSE 2048 /* one page in so many is sparse: a call that finds it costs less than walking past it */
#define LONGEST_STRIDE (16ull << 30) /* emptied page tables of this much cost some milliseconds, once */

/* What one look at a group of mappings matches, returns and does; see scan_arg.
 * Holes match no look: the kernel calls them written, and protecting them would allocate page tables. */
typedef struct {
    uint64_t flags, inverted, mask, anyof, returns;
} look;

typedef struct {
    mt_scan *scan;
    int fd;
    const mt_mapping *items;
    size_t first, last; /* the group */
} area;

static const uint64_t SOMETHING = PAGE_PRESENT | PAGE_SWAPPED;

static look look_census(uint64_t guard) {
    return (look){.anyof = SOMETHING, .returns = SOMETHING | PAGE_HUGE | PAGE_PFNZERO | guard};
}

static look look_soft_dirty(uint64_t guard) {
    look l = look_census(guard);
    l.returns |= PAGE_SOFT_DIRTY;
    return l;
}

/* Returns clean pages too; the kernel protects none but the written ones. */
static look look_armed(uint64_t guard) {
    uint64_t without = PAGE_PFNZERO | guard;
    return (look){SCAN_WP_MATCHING, without, PAGE_WPALLOWED | without, SOMETHING,
                  PAGE_WRITTEN | SOMETHING | PAGE_HUGE};
}

/* Private pages only: FILE is the page cache, which a private mapping never writes.  It costs a look
 * at each page's struct page, so no other look asks for it. */
static look look_armed_file(uint64_t guard) {
    uint64_t without = PAGE_PFNZERO | PAGE_FILE | guard;
    return (look){SCAN_WP_MATCHING, without, PAGE_WPALLOWED | PAGE_WRITTEN | without, SOMETHING,
                  PAGE_WRITTEN | PAGE_HUGE};
}

static look look_zero(uint64_t guard) {
    return (look){.anyof = PAGE_PFNZERO | guard, .returns = PAGE_PFNZERO | guard};
}

/* WPALLOWED inverted: the kernel skips registered mappings without walking them. */
static look look_stray(void) {
    return (look){.inverted = PAGE_WPALLOWED, .mask = PAGE_WPALLOWED, .anyof = SOMETHING};
}

/* Looks at the bit alone, whether or not anybody still heeds it. */
static look look_protected(void) {
    return (look){.inverted = PAGE_WRITTEN, .mask = PAGE_WRITTEN, .anyof = SOMETHING};
}

/* ---- one call ------------------------------------------------------------------------------ */

static int call(const area *a, const look *l, scan_arg *arg, page_region *vec, uint64_t room) {
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

/* Where to go on. walk_end alone does not say it: it stops moving after 512 regions. */
static uint64_t resume(const scan_arg *arg, const page_region *last) {
    return arg->walk_end > last->end ? arg->walk_end : last->end;
}

static uint64_t pages_in(const page_region *regions, int count) {
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += regions[i].end - regions[i].start;
    return bytes / MT_PAGE;
}

/* A look that changes nothing, from *at towards end: at most max_pages pages, and at most a stride, which
 * grows while empty space is cheap and shrinks where emptied page tables make it slow. Moves *at. */
static int plain_call(const area *a, const look *l, uint64_t *at, uint64_t end, uint64_t max_pages,
                      page_region *vec, uint64_t room) {
    mt_scan *scan = a->scan;
    if (end - *at > scan->stride)
        end = *at + scan->stride;
    scan_arg arg = {.start = *at, .end = end, .max_pages = max_pages};
    int64_t began = mt_now_ns();
    int got = call(a, l, &arg, vec, room);
    int64_t took = mt_now_ns() - began;
    if (got < 0)
        return got;
    bool all = (uint64_t)got < room && pages_in(vec, got) < max_pages;
    if (took > LONG_CALL && scan->stride > SLICE)
        scan->stride /= 4;
    else if (took < SHORT_CALL && all && scan->stride < LONGEST_STRIDE)
        scan->stride *= 4;
    *at = all ? end : resume(&arg, &vec[got - 1]);
    return got;
}

static int tally_all(tally *t, const page_region *regions, int count) {
    int error = 0;
    for (int i = 0; i < count && !error; i++)
        error = tally_region(t, regions[i].start, regions[i].end, regions[i].categories);
    return error;
}

/* ---- a group: neighbours in one mode ---------------------------------------------------------- */

/* Where to look next: address at, or behind the gap that it lies in; *i becomes its mapping. */
static uint64_t skip_gap(const area *a, size_t *i, uint64_t at) {
    while (*i < a->last && a->items[*i].end <= at)
        ++*i;
    return *i < a->last && a->items[*i].start > at ? a->items[*i].start : at;
}

/* Pages of a whole slice at most in one call: populated or not, the lock is not held for longer. */
static int sweep_plain(const area *a, const look *l, tally *t) {
    uint64_t at = a->items[a->first].start, end = a->items[a->last - 1].end;
    for (size_t i = a->first; i < a->last; at = skip_gap(a, &i, at)) {
        int got = plain_call(a, l, &at, end, SLICE / MT_PAGE, a->scan->regions, REGIONS);
        int error = got < 0 ? got : tally_all(t, a->scan->regions, got);
        if (error)
            return error;
    }
    return 0;
}

/* Where the slice that starts at address at in items[i] ends: on a multiple of slice, which never cuts a huge
 * page (the kernel would split it), or where the last mapping below that does. */
static uint64_t slice_end(const area *a, size_t i, uint64_t at, uint64_t slice) {
    uint64_t cut = (at & ~(slice - 1)) + slice, end = a->items[i].end;
    while (end < cut && ++i < a->last && a->items[i].start < cut)
        end = a->items[i].end;
    return end < cut ? end : cut;
}

/* Protects in [start, *end) what the look matches. max_pages stays 0: it could cut a huge page. Where the
 * window turns out to hold but a part of one huge page, nothing happens, and it is widened up to limit. */
static int protect(const area *a, const look *l, uint64_t start, uint64_t *end, uint64_t limit, tally *t,
                   uint64_t *pages) {
    page_region *regions = a->scan->regions;
    uint64_t at = start;
    while (at < *end) {
        scan_arg arg = {.start = at, .end = *end};
        int got = call(a, l, &arg, regions, REGIONS);
        int error = got < 0 ? got : tally_all(t, regions, got);
        if (error)
            return error;
        if (got == 0 && arg.walk_end <= at && *end < limit) {
            *end = limit - at > 2 * (*end - at) ? at + 2 * (*end - at) : limit;
            continue;
        }
        *pages += pages_in(regions, got);
        at = got < REGIONS ? *end : resume(&arg, &regions[got - 1]);
    }
    return 0;
}

/* Far between: a plain look says where the pages are in [*at, end), and only there is anything protected, in
 * windows of at most a slice that cut no huge page. Moves *at. */
static int protect_found(const area *a, const look *l, uint64_t *at, uint64_t end, tally *t, uint64_t *pages) {
    look where = *l;
    where.flags = where.returns = 0;
    page_region *hints = a->scan->hints;
    uint64_t done = *at;
    int got = plain_call(a, &where, at, end, SLICE / MT_PAGE, hints, HINTS);
    for (int i = 0; i < got;) {
        uint64_t start = hints[i].start & ~(MT_HUGE - 1), cut = start + SLICE, stop = start;
        for (; i < got && hints[i].start < cut; i++) {
            stop = (hints[i].end + MT_HUGE - 1) & ~(MT_HUGE - 1);
            if (hints[i].end > cut) { /* its rest is for the next window */
                hints[i].start = stop = cut;
                break;
            }
        }
        start = start > done ? start : done;
        done = stop < end ? stop : end;
        int error = protect(a, l, start, &done, end, t, pages);
        if (error)
            return error;
        while (i < got && hints[i].end <= done)
            i++;
    }
    *at = done > *at ? done : *at;
    return got < 0 ? got : 0;
}

/* Whole gigantic pages fit into one window only if the window has their size. */
static bool maybe_gigantic(const mt_mapping *m) {
    return m->kind == MT_KIND_HUGETLB && (m->start | m->end) % GIGANTIC == 0;
}

static int sweep_protecting(const area *a, const look *l, tally *t) {
    uint64_t slice = maybe_gigantic(&a->items[a->first]) ? GIGANTIC : SLICE;
    uint64_t at = a->items[a->first].start, group_end = a->items[a->last - 1].end;
    bool sparse = false;
    for (size_t i = a->first; i < a->last; at = skip_gap(a, &i, at)) {
        uint64_t from = at, pages = 0;
        int error;
        if (sparse) {
            error = protect_found(a, l, &at, group_end, t, &pages);
        } else {
            at = slice_end(a, i, from, slice);
            error = protect(a, l, from, &at, group_end, t, &pages);
        }
        if (error)
            return error;
        sparse = slice == SLICE && pages * SPARSE < (at - from) / MT_PAGE;
    }
    return 0;
}

static int sweep(const area *a, const look *l, tally *t) {
    tally_begin(t, a->first, a->last, l->flags & SCAN_WP_MATCHING);
    return l->flags & SCAN_WP_MATCHING ? sweep_protecting(a, l, t) : sweep_plain(a, l, t);
}

static int scan_group(const area *a, const mt_scan_request *request, uint8_t mode, mt_count *counts) {
    tally t = {.scan = a->scan, .request = request, .items = a->items, .counts = counts};
    uint64_t guard = request->guard_bit;
    bool zero = mode != MT_MODE_ARMED || request->count_zero;
    look first = look_census(guard), second;
    bool twice = false;
    if (mode == MT_MODE_SOFT_DIRTY) {
        first = look_soft_dirty(guard);
    } else if (mode == MT_MODE_ARMED) {
        first = look_armed(guard);
        second = look_zero(guard);
        twice = request->count_zero;
    } else if (mode == MT_MODE_ARMED_FILE) {
        first = look_armed_file(guard);
        second = look_census(guard);
        twice = true;
    }
    for (size_t i = a->first; i < a->last; i++)
        counts[i].flags = MT_COUNT_SCANNED | (zero ? MT_COUNT_ZERO : 0);
    int error = sweep(a, &first, &t);
    return !error && twice ? sweep(a, &second, &t) : error;
}

static int read_group(const area *a, const mt_scan_request *request, uint8_t mode, mt_count *counts) {
    tally t = {.scan = a->scan, .request = request, .items = a->items, .counts = counts};
    if (mode != MT_MODE_CENSUS && mode != MT_MODE_SOFT_DIRTY)
        return -EOPNOTSUPP;
    tally_begin(&t, a->first, a->last, false);
    for (size_t i = a->first; i < a->last; i++) {
        if ((a->items[i].end - a->items[i].start) / MT_PAGE > request->sparse_limit) {
            counts[i].flags |= MT_COUNT_TOO_SPARSE;
            continue;
        }
        int error = pagemap_count(&t, &a->items[i], mode);
        if (error)
            return error;
        counts[i].flags |= MT_COUNT_SCANNED;
    }
    return 0;
}

int mt_scan_run(mt_scan *scan, const mt_scan_request *request, const mt_mapping *items, const uint8_t *modes,
                size_t count, mt_count *counts) {
    tally_reset(scan);
    memset(counts, 0, count * sizeof *counts);
    if (request->watch_resident)
        memset(request->watch_resident, 0, request->watch_cells * sizeof *request->watch_resident);
    if (request->watch_written)
        memset(request->watch_written, 0, request->watch_cells * sizeof *request->watch_written);
    for (size_t first = 0, last; first < count; first = last) {
        for (last = first + 1; last < count && modes[last] == modes[first]; last++)
            if (maybe_gigantic(&items[last]) != maybe_gigantic(&items[first]) ||
                can_scan(&items[last], modes[last]) != can_scan(&items[first], modes[first]))
                break;
        if (!can_scan(&items[first], modes[first]))
            continue;
        area a = {scan, request->pagemap_fd, items, first, last};
        int error = request->use_ioctl ? scan_group(&a, request, modes[first], counts)
                                       : read_group(&a, request, modes[first], counts);
        if (error)
            return error;
    }
    return tally_late(scan, request, items, count, counts);
}

static bool is_armed(uint8_t mode) {
    return mode == MT_MODE_ARMED || mode == MT_MODE_ARMED_FILE;
}

/* Adds the mappings of a group that the look matches, each after one page, up to room. */
static int find_mappings(const area *a, const look *l, uint32_t *found, size_t *count, size_t room) {
    uint64_t at = a->items[a->first].start, end = a->items[a->last - 1].end;
    for (size_t i = a->first; i < a->last && *count < room; at = skip_gap(a, &i, at)) {
        page_region page;
        int got = plain_call(a, l, &at, end, 1, &page, 1);
        if (got < 0)
            return got;
        if (got == 0)
            continue;
        skip_gap(a, &i, page.start);
        if (i < a->last && a->items[i].start <= page.start) { /* else it lies in a gap */
            found[(*count)++] = (uint32_t)i;
            at = a->items[i].end;
        }
    }
    return 0;
}

int64_t mt_scan_strays(mt_scan *scan, int pagemap_fd, const mt_mapping *items, const uint8_t *modes,
                       size_t count, uint32_t *found, size_t room) {
    look l = look_stray();
    size_t strays = 0;
    for (size_t first = 0, last; first < count && strays < room; first = last) {
        for (last = first + 1; last < count && is_armed(modes[last]) == is_armed(modes[first]); last++)
            ;
        if (!is_armed(modes[first]))
            continue;
        area a = {scan, pagemap_fd, items, first, last};
        int error = find_mappings(&a, &l, found, &strays, room);
        if (error)
            return error;
    }
    return (int64_t)strays;
}

/* Where the mapping has changed meanwhile, what is still registered is found by halving. */
static void unprotect(int uffd, uint64_t start, uint64_t end) {
    uint64_t middle = start + (end - start) / 2 / MT_PAGE * MT_PAGE;
    if (mt_uffd_unprotect(uffd, start, end - start) == -ENOENT && middle > start) {
        unprotect(uffd, start, middle);
        unprotect(uffd, middle, end);
    }
}

int mt_scan_unprotect(mt_scan *scan, int pagemap_fd, int uffd, const mt_mapping *items, const uint32_t *index,
                      size_t count) {
    look l = look_protected();
    page_region *regions = scan->regions;
    for (size_t k = 0; k < count; k++) {
        area a = {scan, pagemap_fd, items, index[k], index[k] + 1};
        for (uint64_t at = items[index[k]].start, end = items[index[k]].end; at < end;) {
            int got = plain_call(&a, &l, &at, end, SLICE / MT_PAGE, regions, REGIONS);
            if (got < 0)
                return got;
            for (int i = 0; i < got; i++)
                unprotect(uffd, regions[i].start, regions[i].end);
        }
    }
    return 0;
}

int mt_scan_probe(int pagemap_fd, uint64_t categories) {
    area nowhere = {.fd = pagemap_fd};
    page_region region;
    return call(&nowhere, &(look){.returns = categories}, &(scan_arg){0}, &region, 1);
}

mt_scan *mt_scan_new(void) {
    mt_scan *scan = calloc(1, sizeof *scan);
    if (scan)
        scan->stride = GIGANTIC;
    return scan;
}

void mt_scan_free(mt_scan *scan) {
    if (!scan)
        return;
    free(scan->runs.items);
    free(scan->late.items);
    free(scan->due.items);
    free(scan);
}

size_t mt_scan_run_count(const mt_scan *scan) {
    return scan->runs.count;
}

const mt_run *mt_scan_runs(const mt_scan *scan) {
    return scan->runs.items;
}
