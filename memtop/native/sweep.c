/*
 * How a group of mappings is walked. A call holds the target's mmap lock for reading, so it never walks more
 * than a slice of populated memory; empty address space is crossed by searching for the next page.
 *
 * What the kernel charges for is a match: about 9 ns for each page that a look asks for, 2.6 ns for one that
 * it only passes, and a huge page is one entry. So where small pages lie densely, the question is turned
 * round: what is *not* an ordinary present page? The rest of the mapping is.
 */
#include "scan.h"

#define SPARSE 2048 /* one page in so many is sparse: a call that finds it costs less than walking past it */
#define SAMPLE (8ull << 20)       /* memory that a look takes in before it is known whether it lies densely */
#define HUGE_SLICE (256ull << 20) /* of huge pages: less work than a slice of others */

/* What a window turned out to hold. */
typedef enum { MIXED, DENSE, HUGE, EMPTY } texture;

static uint64_t pages_in(const page_region *regions, int count, uint64_t without) {
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += regions[i].categories & without ? 0 : regions[i].end - regions[i].start;
    return bytes / MT_PAGE;
}

/* A single page tells nothing of its neighbours: less than a huge page's room is no sample. */
static texture texture_of(uint64_t pages, uint64_t small, uint64_t bytes) {
    uint64_t room = (bytes > MT_HUGE ? bytes : MT_HUGE) / MT_PAGE;
    return pages * SPARSE < room ? EMPTY : small * 2 > room ? DENSE : (pages - small) * 2 > room ? HUGE : MIXED;
}

/* Memory whose every page the kernel tells of, be it there or not: of device memory it tells nothing, and
 * that would pass for present. Small mappings are not worth a call of their own. */
static bool tells_all(const mt_mapping *m) {
    if (m->end - m->start < MT_HUGE)
        return false;
    return m->kind == MT_KIND_ANON || m->kind == MT_KIND_HEAP || m->kind == MT_KIND_STACK ||
           m->kind == MT_KIND_JIT || m->kind == MT_KIND_SHARED || m->kind == MT_KIND_GUARD;
}

/* Only a look that matches whatever is there can be turned round. */
static bool can_turn(const look *l) {
    return !(l->mask & ~(PAGE_WPALLOWED | l->inverted)) && l->returns & PAGE_PRESENT;
}

/* All that is not present, and what is more than just present. */
static look turned(const look *l) {
    uint64_t told = (l->returns | l->inverted | SOMETHING | PAGE_HUGE) & ~(PAGE_WRITTEN | PAGE_WPALLOWED);
    return (look){.inverted = PAGE_PRESENT, .anyof = told, .returns = told};
}

/* Of a protecting look, the part that gets and clears. */
static look written_only(const look *l) {
    look only = *l;
    only.mask |= PAGE_WRITTEN;
    only.returns = PAGE_WRITTEN | PAGE_HUGE;
    return only;
}

/* Where the slice that starts at address at in items[i] ends: on a multiple of slice, which never cuts a huge
 * page (the kernel would split it), or where the last mapping below that does. */
static uint64_t slice_end(const area *a, size_t i, uint64_t at, uint64_t slice, bool telling) {
    uint64_t cut = (at & ~(slice - 1)) + slice, end = a->items[i].end;
    while (end < cut && ++i < a->last && a->items[i].start < cut && (!telling || tells_all(&a->items[i])))
        end = a->items[i].end;
    return end < cut ? end : cut;
}

static int tally_all(tally *t, const page_region *regions, int count) {
    int error = 0;
    for (int i = 0; i < count && !error; i++)
        error = tally_region(t, regions[i].start, regions[i].end, regions[i].categories);
    return error;
}

/* The turned look at one window. Zero and guard pages are left to who asks for them. */
static int take_rest(const area *a, const look *l, uint64_t from, uint64_t to, tally *t, texture *found) {
    look rest = turned(l);
    page_region *regions = a->scan->regions;
    uint64_t matched = 0, room = (to - from) / MT_PAGE;
    while (from < to) {
        scan_arg arg = {.start = from, .end = to};
        int got = look_call(a, &rest, &arg, regions, REGIONS);
        if (got < 0)
            return got;
        uint64_t next = got < REGIONS ? to : look_resume(&arg, &regions[got - 1]);
        int error = tally_rest(t, from, next, regions, got, l->inverted);
        if (error)
            return error;
        matched += pages_in(regions, got, 0);
        from = next;
    }
    *found = matched * 2 > room ? MIXED : DENSE;
    return 0;
}

static int sweep_plain(const area *a, const look *l, tally *t) {
    page_region *regions = a->scan->regions;
    uint64_t at = a->items[a->first].start, end = a->items[a->last - 1].end;
    texture found = MIXED;
    for (size_t i = a->first; i < a->last; at = skip_gap(a, &i, at)) {
        bool telling = can_turn(l) && tells_all(&a->items[i]);
        int error;
        if (telling && found == DENSE) {
            uint64_t from = at;
            at = slice_end(a, i, at, SLICE, true);
            error = take_rest(a, l, from, at, t, &found);
        } else {
            /* Populated or not, the lock is not held for longer: so many pages at most in one call. */
            uint64_t most = found == HUGE ? HUGE_SLICE : telling ? SAMPLE : SLICE;
            int got = look_plain(a, l, &at, end, most / MT_PAGE, regions, REGIONS);
            error = got < 0 ? got : tally_all(t, regions, got);
            if (got > 0)
                found = texture_of(pages_in(regions, got, 0), pages_in(regions, got, PAGE_HUGE),
                                   regions[got - 1].end - regions[0].start);
        }
        if (error)
            return error;
    }
    return 0;
}

/* Protects in [start, *end) what the look matches. max_pages stays 0: it could cut a huge page. Where the
 * window turns out to hold but a part of one huge page, nothing happens, and it is widened up to limit. */
static int protect(const area *a, const look *l, uint64_t start, uint64_t *end, uint64_t limit, tally *t,
                   texture *found) {
    page_region *regions = a->scan->regions;
    uint64_t at = start, pages = 0, small = 0;
    while (at < *end) {
        scan_arg arg = {.start = at, .end = *end};
        int got = look_call(a, l, &arg, regions, REGIONS);
        int error = got < 0 ? got : tally_all(t, regions, got);
        if (error)
            return error;
        if (got == 0 && arg.walk_end <= at && *end < limit) {
            *end = limit - at > 2 * (*end - at) ? at + 2 * (*end - at) : limit;
            continue;
        }
        pages += pages_in(regions, got, 0);
        small += pages_in(regions, got, PAGE_HUGE);
        at = got < REGIONS ? *end : look_resume(&arg, &regions[got - 1]);
    }
    *found = texture_of(pages, small, *end - start);
    return 0;
}

/* Far between: a plain look says where the pages are in [*at, end), and only there is anything protected, in
 * windows of at most a slice that cut no huge page. Moves *at. */
static int protect_found(const area *a, const look *l, uint64_t *at, uint64_t end, tally *t, texture *found) {
    look where = *l;
    where.flags = 0;
    where.returns = PAGE_HUGE;
    page_region *hints = a->scan->hints;
    uint64_t done = *at, from = *at, pages = 0;
    int got = look_plain(a, &where, at, end, SLICE / MT_PAGE, hints, HINTS);
    for (int i = 0; i < got; i++) {
        pages += (hints[i].end - hints[i].start) / MT_PAGE;
        if (hints[i].categories & PAGE_HUGE) {
            hints[i].start &= ~(MT_HUGE - 1);
            hints[i].end = (hints[i].end + MT_HUGE - 1) & ~(MT_HUGE - 1);
            hints[i].end = hints[i].end < end ? hints[i].end : end;
        }
    }
    for (int i = 0; i < got;) {
        uint64_t start = hints[i].start > done ? hints[i].start : done;
        uint64_t cut = (start & ~(MT_HUGE - 1)) + SLICE, stop = start;
        for (; i < got && hints[i].start < cut; i++) {
            stop = hints[i].end;
            if (stop > cut) { /* its rest is for the next window */
                hints[i].start = stop = cut;
                break;
            }
        }
        done = stop < end ? stop : end;
        texture window;
        int error = protect(a, l, start, &done, end, t, &window);
        if (error)
            return error;
        while (i < got && hints[i].end <= done)
            i++;
    }
    *at = done > *at ? done : *at;
    *found = texture_of(pages, 0, *at - from);
    return got < 0 ? got : 0;
}

static int sweep_protecting(const area *a, const look *l, tally *t) {
    uint64_t at = a->items[a->first].start, group_end = a->items[a->last - 1].end;
    uint64_t slice = maybe_gigantic(&a->items[a->first]) ? GIGANTIC : SLICE;
    look written = written_only(l);
    tally present = *t; /* goes on at the slice that is protected already */
    present.keep_late = false;
    texture found = MIXED;
    for (size_t i = a->first; i < a->last; at = skip_gap(a, &i, at)) {
        uint64_t from = at;
        bool telling = can_turn(l) && tells_all(&a->items[i]);
        int error;
        if (found == EMPTY && slice == SLICE) {
            error = protect_found(a, l, &at, group_end, t, &found);
        } else if (found == DENSE && telling) {
            at = slice_end(a, i, from, slice, true);
            error = protect(a, &written, from, &at, at, t, &found);
            if (!error)
                error = take_rest(a, l, from, at, &present, &found);
        } else {
            at = slice_end(a, i, from, found == HUGE && slice == SLICE ? HUGE_SLICE : slice, false);
            error = protect(a, l, from, &at, group_end, t, &found);
        }
        if (error)
            return error;
    }
    return 0;
}

int sweep(const area *a, const look *l, tally *t) {
    bool protecting = l->flags & SCAN_WP_MATCHING;
    tally_begin(t, a->first, a->last, protecting);
    return protecting ? sweep_protecting(a, l, t) : sweep_plain(a, l, t);
}
