/* What the pages of a process are, and which were written: the scan of a tick, see docs/architecture.md. */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
        counts[i].flags = MT_COUNT_SCANNED | (zero ? MT_COUNT_ZERO : 0) | (guard ? 0 : MT_COUNT_NO_GUARD);
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
        counts[i].flags |= MT_COUNT_SCANNED | MT_COUNT_NO_HUGE | MT_COUNT_NO_GUARD;
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
        bool ioctl_tells = request->use_ioctl && (modes[first] != MT_MODE_SOFT_DIRTY || request->soft_dirty_bit);
        int error = ioctl_tells ? scan_group(&a, request, modes[first], counts)
                                : read_group(&a, request, modes[first], counts);
        if (error)
            return error;
    }
    return tally_late(scan, request, items, count, counts);
}

int mt_scan_probe(int pagemap_fd, uint64_t categories) {
    area nowhere = {.fd = pagemap_fd};
    page_region region;
    return look_call(&nowhere, &(look){.returns = categories}, &(scan_arg){0}, &region, 1);
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
