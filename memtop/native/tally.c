/* From regions of pages to counts, 64-cell maps, watched cells and written runs. */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void settle(tally *t) {
    const mt_mapping *m = &t->items[t->at];
    t->cell = ((m->end - m->start) / MT_PAGE + 63) / 64 * MT_PAGE;
    t->cell_start = t->cell_end = 0;
}

void tally_reset(mt_scan *scan) {
    run_list due = scan->due;
    scan->due = scan->late;
    scan->late = due;
    scan->late.count = scan->runs.count = 0;
}

void tally_begin(tally *t, size_t first, size_t last, bool keep_late) {
    t->at = first;
    t->last = last;
    t->watch_end = t->request->watch_start + t->request->watch_cell * MT_PAGE * t->request->watch_cells;
    t->keep_late = keep_late;
    settle(t);
}

/* Bits of the 64ths of the mapping that [start, end) touches. */
static inline uint64_t cells_of(tally *t, uint64_t start, uint64_t end) {
    if (start >= t->cell_start && end <= t->cell_end) /* mostly the one of the last region */
        return 1ull << t->cell_index;
    uint64_t origin = t->items[t->at].start;
    uint64_t first = (start - origin) / t->cell, last = (end - 1 - origin) / t->cell;
    t->cell_index = last;
    t->cell_start = origin + last * t->cell;
    t->cell_end = t->cell_start + t->cell;
    return (~0ull >> (63 - (last - first))) << first;
}

static void add_watched(const tally *t, uint32_t *cells, uint64_t start, uint64_t end) {
    uint64_t from = t->request->watch_start, cell = t->request->watch_cell * MT_PAGE;
    start = start > from ? start : from;
    end = end < t->watch_end ? end : t->watch_end;
    for (uint64_t k = (start - from) / cell; start < end; k++) {
        uint64_t edge = from + (k + 1) * cell;
        if (edge > end)
            edge = end;
        cells[k] += (uint32_t)((edge - start) / MT_PAGE);
        start = edge;
    }
}

static int append(run_list *list, uint64_t start, uint64_t pages, uint32_t flags) {
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 1024;
        mt_run *items = room > UINT32_MAX ? NULL : realloc(list->items, room * sizeof *items);
        if (!items)
            return -ENOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = (mt_run){start, (uint32_t)pages, flags};
    return 0;
}

static int add_run(run_list *runs, mt_count *count, uint64_t start, uint64_t pages, uint32_t flags) {
    if (count->run_count) {
        mt_run *last = &runs->items[runs->count - 1];
        if (mt_run_end(last) == start && last->flags == flags &&
            last->pages + pages <= UINT32_MAX) {
            last->pages += (uint32_t)pages;
            return 0;
        }
    } else {
        count->first_run = (uint32_t)runs->count;
    }
    count->run_count++;
    return append(runs, start, pages, flags);
}

static uint32_t run_flags(uint64_t categories) {
    return categories & PAGE_HUGE ? MT_RUN_HUGE : 0;
}

/* A region inside the mapping t->at. */
static int add(tally *t, uint64_t start, uint64_t end, uint64_t categories) {
    mt_count *count = &t->counts[t->at];
    uint64_t pages = (end - start) / MT_PAGE;
    if (categories & PAGE_PFNZERO) {
        count->zero += pages;
        return 0;
    }
    if (categories & PAGE_GUARD) {
        count->guard += pages;
        return 0;
    }
    int watched = t->request->watch_cells && start < t->watch_end && end > t->request->watch_start;
    uint64_t cells = cells_of(t, start, end);
    if (categories & PAGE_PRESENT) {
        count->resident += pages;
        count->huge += categories & PAGE_HUGE ? pages : 0;
        count->resident_map |= cells;
        if (watched && t->request->watch_resident)
            add_watched(t, t->request->watch_resident, start, end);
    } else if (categories & PAGE_SWAPPED) {
        count->swapped += pages;
    }
    if (!(categories & (PAGE_WRITTEN | PAGE_SOFT_DIRTY)))
        return 0;
    count->written += pages;
    count->written_map |= cells;
    count->flags |= categories & PAGE_HUGE ? MT_COUNT_WRITTEN_HUGE : 0;
    if (watched && t->request->watch_written)
        add_watched(t, t->request->watch_written, start, end);
    return add_run(&t->scan->runs, count, start, pages, run_flags(categories));
}

static int add_late(tally *t, uint64_t start, uint64_t end, uint64_t categories) {
    if (!t->keep_late || !(categories & PAGE_WRITTEN))
        return 0;
    return append(&t->scan->late, start, (end - start) / MT_PAGE, run_flags(categories));
}

int tally_region(tally *t, uint64_t start, uint64_t end, uint64_t categories) {
    int error = 0;
    while (start < end && !error) {
        const mt_mapping *m = &t->items[t->at];
        uint64_t stop = end;
        if (start < m->start) {
            stop = mt_smaller(end, m->start);
            error = add_late(t, start, stop, categories);
        } else if (start < m->end) {
            stop = mt_smaller(end, m->end);
            error = add(t, start, stop, categories);
        } else if (t->at + 1 < t->last) {
            t->at++;
            settle(t);
            continue;
        } else {
            error = add_late(t, start, stop, categories);
        }
        start = stop;
    }
    return error;
}

int tally_rest(tally *t, uint64_t from, uint64_t to, const page_region *regions, int count, uint64_t ignored) {
    int error = 0;
    for (int i = 0; i < count && !error; from = regions[i++].end) {
        const page_region *r = &regions[i];
        if (from < r->start)
            error = tally_region(t, from, r->start, PAGE_PRESENT);
        if (!error && r->categories & SOMETHING && !(r->categories & ignored)) /* a hole may be soft-dirty */
            error = tally_region(t, r->start, r->end, r->categories);
    }
    return error ? error : tally_region(t, from, to, PAGE_PRESENT);
}

int tally_late(mt_scan *scan, const mt_scan_request *request, const mt_mapping *items, size_t count,
               mt_count *counts) {
    if (!scan->due.count || !count)
        return 0;
    mt_run *all = malloc((scan->runs.count + scan->due.count) * sizeof *all);
    if (!all)
        return -ENOMEM;
    size_t runs = mt_runs_union(scan->runs.items, scan->runs.count, scan->due.items, scan->due.count, all);
    for (size_t i = 0; i < count; i++) {
        counts[i].written = counts[i].written_map = counts[i].first_run = counts[i].run_count = 0;
        counts[i].flags &= ~(uint32_t)MT_COUNT_WRITTEN_HUGE;
    }
    if (request->watch_written)
        memset(request->watch_written, 0, request->watch_cells * sizeof *request->watch_written);
    scan->runs.count = 0;
    tally t = {.scan = scan, .request = request, .items = items, .counts = counts};
    tally_begin(&t, 0, count, false);
    int error = 0;
    for (size_t k = 0; k < runs && !error; k++) /* WRITTEN alone: what is resident has been counted */
        error = tally_region(&t, all[k].start, mt_run_end(&all[k]),
                             PAGE_WRITTEN | (all[k].flags & MT_RUN_HUGE ? PAGE_HUGE : 0));
    free(all);
    return error;
}
