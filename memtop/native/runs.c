/* Sets of page runs, and sums of counts. */
#include "core.h"

mt_run *mt_run_put(const mt_run *first, mt_run *at, uint64_t start, uint64_t end, uint32_t flags) {
    if (at > first && start < end && mt_run_end(at - 1) == start && at[-1].flags == flags) {
        uint64_t room = UINT32_MAX - at[-1].pages, pages = mt_smaller((end - start) / MT_PAGE, room);
        at[-1].pages += (uint32_t)pages;
        start += pages * MT_PAGE;
    }
    while (start < end) {
        uint32_t pages = (uint32_t)mt_smaller((end - start) / MT_PAGE, UINT32_MAX);
        *at++ = (mt_run){start, pages, flags};
        start += pages * MT_PAGE;
    }
    return at;
}

size_t mt_runs_union(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out) {
    const mt_run *a_end = a + a_count, *b_end = b + b_count;
    mt_run *at = out;
    uint64_t start = 0, end = 0; /* the run that is being put together; empty at first */
    uint32_t flags = 0;
    while (a < a_end || b < b_end) {
        const mt_run *next = b == b_end || (a < a_end && a->start <= b->start) ? a++ : b++;
        if (next->start < end) {
            if (mt_run_end(next) > end)
                end = mt_run_end(next);
            flags |= next->flags;
        } else {
            at = mt_run_put(out, at, start, end, flags);
            start = next->start;
            end = mt_run_end(next);
            flags = next->flags;
        }
    }
    return (size_t)(mt_run_put(out, at, start, end, flags) - out);
}

/* The part of a where b is (inside 1) or is not (inside 0).  out has room for a_count + b_count. */
static size_t cut(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, int inside, mt_run *out) {
    const mt_run *b_end = b + b_count;
    mt_run *at = out;
    for (const mt_run *run = a; run < a + a_count; run++) {
        uint64_t start = run->start, end = mt_run_end(run);
        while (b < b_end && mt_run_end(b) <= start)
            b++;
        for (const mt_run *hole = b; hole < b_end && hole->start < end; hole++) {
            if (hole->start > start) {
                if (!inside)
                    at = mt_run_put(out, at, start, hole->start, run->flags);
                start = hole->start;
            }
            uint64_t stop = mt_smaller(mt_run_end(hole), end);
            if (inside)
                at = mt_run_put(out, at, start, stop, run->flags);
            start = stop;
        }
        if (!inside)
            at = mt_run_put(out, at, start, end, run->flags);
    }
    return (size_t)(at - out);
}

size_t mt_runs_intersect(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out) {
    return cut(a, a_count, b, b_count, 1, out);
}

size_t mt_runs_subtract(const mt_run *a, size_t a_count, const mt_run *b, size_t b_count, mt_run *out) {
    return cut(a, a_count, b, b_count, 0, out);
}

/* Index of the first run that ends behind address. */
static size_t first_behind(const mt_run *runs, size_t count, uint64_t address) {
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (mt_run_end(&runs[middle]) > address)
            count = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Sets the times of the cells that runs[*at], or later ones, touch within [low, high), and moves *at to where the
 * runs of what lies behind begin: the last one may reach there. */
static void age(const mt_run *runs, size_t count, size_t *at, const mt_ages *map, uint64_t low, uint64_t high,
                double time) {
    uint64_t cell = map->cell_pages * MT_PAGE;
    while (*at < count && mt_run_end(&runs[*at]) <= low)
        ++*at;
    for (size_t i = *at; i < count && runs[i].start < high; *at = i++) {
        uint64_t start = runs[i].start > low ? runs[i].start : low, stop = mt_smaller(mt_run_end(&runs[i]), high);
        for (uint64_t k = (start - map->first) / cell; k <= (stop - 1 - map->first) / cell; k++)
            map->times[k] = time;
    }
}

void mt_runs_age(const mt_run *runs, size_t count, const mt_ages *maps, size_t map_count, double time) {
    size_t at = map_count ? first_behind(runs, count, maps[0].start) : count;
    for (const mt_ages *map = maps; map < maps + map_count && at < count; map++) {
        uint64_t end = map->first + map->cells * map->cell_pages * MT_PAGE;
        age(runs, count, &at, map, map->start > map->first ? map->start : map->first, mt_smaller(map->end, end),
            time);
    }
}

size_t mt_runs_head(const mt_run *runs, size_t count, uint64_t pages, uint64_t *left) {
    size_t i = 0;
    while (i < count && runs[i].pages <= pages)
        pages -= runs[i++].pages;
    *left = pages;
    return i;
}

uint64_t mt_runs_pages(const mt_run *runs, size_t count) {
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        pages += runs[i].pages;
    return pages;
}

static void add_counts(const mt_run *runs, size_t count, const mt_mapping *items, size_t item_count,
                       uint64_t *pages) {
    size_t at = item_count ? first_behind(runs, count, items[0].start) : count;
    for (size_t i = 0; i < item_count && at < count; i++) {
        while (at < count && mt_run_end(&runs[at]) <= items[i].start)
            at++;
        /* The last run may reach into the next mapping: it is looked at again there. */
        for (size_t k = at; k < count && runs[k].start < items[i].end; k++) {
            uint64_t start = runs[k].start > items[i].start ? runs[k].start : items[i].start;
            pages[i] += (mt_smaller(mt_run_end(&runs[k]), items[i].end) - start) / MT_PAGE;
            at = k;
        }
    }
}

void mt_runs_count(const mt_run *const *sets, const size_t *counts, size_t set_count, const mt_mapping *items,
                   size_t item_count, uint64_t *pages, size_t step) {
    for (size_t i = 0; i < set_count; i++)
        add_counts(sets[i], counts[i], items, item_count, pages + i * step);
}

void mt_count_kinds(const mt_mapping *items, const mt_count *counts, size_t count, uint64_t *resident) {
    for (size_t i = 0; i < count; i++)
        resident[items[i].kind] += counts[i].resident;
}

void mt_count_sum(const mt_count *counts, size_t count, mt_count *sum) {
    *sum = (mt_count){0};
    for (size_t i = 0; i < count; i++) {
        sum->resident += counts[i].resident;
        sum->huge += counts[i].huge;
        sum->zero += counts[i].zero;
        sum->swapped += counts[i].swapped;
        sum->guard += counts[i].guard;
        sum->written += counts[i].written;
        sum->run_count += counts[i].run_count;
        sum->flags |= counts[i].flags;
    }
}
