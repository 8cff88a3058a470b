/* The pages that a filter matches: one or more PAGEMAP_SCAN looks whose union is the answer.
 *
 * A look that matches anything present finds out first where pages are, at most a slice of them; only there are
 * the filter's own looks made. So neither empty space nor a filter that matches little makes one call long. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scan.h"

#define ENOUGH 65536 /* matches that one mt_match_run returns, about */
#define NEEDED (SOMETHING | PAGE_WPALLOWED | PAGE_PFNZERO)
#define ENTRIES 8192
#define LONG_CALL 500000 /* ns: search less at once */
#define SHORT_CALL 100000
#define LONGEST_STRIDE (64ull << 30)

typedef struct {
    mt_match *items;
    size_t count, room;
} match_list;

struct mt_matches {
    match_list found; /* the answer */
    uint64_t stride;  /* bytes in which pages are searched for: empty space is cheap, emptied page tables are not */
    match_list piece, look, merged; /* of one piece of address space, while there are several looks */
    union {
        mt_match regions[REGIONS];
        uint64_t entries[ENTRIES];
    };
};

_Static_assert(sizeof(mt_match) == sizeof(page_region), "the kernel fills them");

static int push(match_list *list, uint64_t start, uint64_t end, uint64_t categories) {
    mt_match *last = list->count ? &list->items[list->count - 1] : NULL;
    if (start >= end)
        return 0;
    if (last && last->end == start && last->categories == categories) {
        last->end = end;
        return 0;
    }
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 1024;
        mt_match *items = realloc(list->items, room * sizeof *items);
        if (!items)
            return -ENOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = (mt_match){start, end, categories};
    return 0;
}

/* Takes a region as the kernel says it. Holes are no pages; and WRITTEN says something of tracked pages only
 * that are neither the zero page nor a guard. */
static int push_region(match_list *list, const mt_match *region) {
    uint64_t categories = region->categories;
    if (!(categories & SOMETHING))
        return 0;
    if (!(categories & PAGE_WPALLOWED) || categories & (PAGE_PFNZERO | PAGE_GUARD))
        categories &= ~PAGE_WRITTEN;
    return push(list, region->start, region->end, categories);
}

/* out: all of first, and what second has besides. A page that an earlier look protected reads as clean in a later
 * one, so the first answer counts. */
static int merge(const match_list *first, const match_list *second, match_list *out) {
    size_t i = 0;
    int error = 0;
    out->count = 0;
    for (size_t k = 0; k < second->count && !error; k++) {
        mt_match rest = second->items[k];
        for (; i < first->count && first->items[i].start < rest.end && !error; i++) {
            const mt_match *known = &first->items[i];
            error = push(out, rest.start, mt_smaller(rest.end, known->start), rest.categories);
            if (!error)
                error = push(out, known->start, known->end, known->categories);
            rest.start = mt_larger(rest.start, known->end);
        }
        if (!error)
            error = push(out, rest.start, rest.end, rest.categories);
    }
    for (; i < first->count && !error; i++)
        error = push(out, first->items[i].start, first->items[i].end, first->items[i].categories);
    return error;
}

/* ---- one look -------------------------------------------------------------------------------------- */

/* In [at, *end). max_pages stays 0, as it could cut a huge page. Where the window holds but a part of one, a
 * protecting look does nothing, and the window is widened up to limit. */
static int look_at(mt_matches *m, const mt_match_request *r, const mt_masks *masks, uint64_t at, uint64_t *end,
                   uint64_t limit, match_list *list) {
    while (at < *end) {
        scan_arg arg = {
            .size = sizeof arg,
            .flags = r->protect ? SCAN_WP_MATCHING : 0,
            .start = at,
            .end = *end,
            .vec = (uintptr_t)m->regions,
            .vec_len = REGIONS,
            .category_inverted = masks->inverted,
            .category_mask = masks->mask,
            .category_anyof_mask = masks->anyof,
            .return_mask = r->returns | NEEDED,
        };
        int got = ioctl(r->pagemap_fd, SCAN_IOCTL, &arg), error = 0;
        if (got < 0)
            return -errno;
        for (int i = 0; i < got && !error; i++)
            error = push_region(list, &m->regions[i]);
        if (error)
            return error;
        if (r->protect && got == 0 && arg.walk_end <= at && *end < limit)
            *end = mt_smaller(limit, at + 2 * (*end - at));
        else /* walk_end stops moving after 512 regions */
            at = got < REGIONS ? *end : mt_larger(arg.walk_end, m->regions[got - 1].end);
    }
    return 0;
}

/* All looks at [start, *end). */
static int look_all(mt_matches *m, const mt_match_request *r, uint64_t start, uint64_t *end, uint64_t limit) {
    m->piece.count = 0;
    for (size_t i = 0; i < r->scan_count; i++) {
        m->look.count = 0;
        int error = look_at(m, r, &r->scans[i], start, end, limit, i ? &m->look : &m->piece);
        if (error)
            return error;
        if (i == 0)
            continue;
        error = merge(&m->piece, &m->look, &m->merged);
        if (error)
            return error;
        match_list swap = m->piece;
        m->piece = m->merged;
        m->merged = swap;
    }
    int error = 0;
    for (size_t i = 0; i < m->piece.count && !error; i++)
        error = push(&m->found, m->piece.items[i].start, m->piece.items[i].end, m->piece.items[i].categories);
    return error;
}

/* ---- where to look ----------------------------------------------------------------------------------- */

/* The next window with at most a slice of pages in it: [*at, *stop), or *at == end. Changes nothing. */
static int find_pages(mt_matches *m, const mt_match_request *r, uint64_t *at, uint64_t end, uint64_t *stop) {
    while (*at < end) {
        scan_arg arg = {
            .size = sizeof arg,
            .start = *at,
            .end = *at + mt_smaller(m->stride, end - *at),
            .vec = (uintptr_t)m->regions,
            .vec_len = REGIONS,
            .max_pages = SLICE / MT_PAGE,
            .category_anyof_mask = SOMETHING,
        };
        int64_t began = mt_now_ns();
        int got = ioctl(r->pagemap_fd, SCAN_IOCTL, &arg);
        if (got < 0)
            return -errno;
        int64_t took = mt_now_ns() - began;
        if (took > LONG_CALL && m->stride > SLICE)
            m->stride /= 4;
        else if (took < SHORT_CALL && !got && m->stride < LONGEST_STRIDE)
            m->stride *= 4;
        if (got) {
            *at = m->regions[0].start;
            *stop = m->regions[got - 1].end;
            return 0;
        }
        *at = arg.end;
    }
    return 0;
}

/* Pieces of at most a slice that cut no huge page: the kernel would split it. */
static int protect_window(mt_matches *m, const mt_match_request *r, uint64_t from, uint64_t *at, uint64_t stop,
                          uint64_t end) {
    uint64_t piece = mt_larger(*at & ~(MT_HUGE - 1), from);
    stop = mt_smaller((stop + MT_HUGE - 1) & ~(MT_HUGE - 1), end);
    while (piece < stop) {
        uint64_t cut = mt_smaller((piece & ~(SLICE - 1)) + SLICE, stop);
        int error = look_all(m, r, piece, &cut, end);
        if (error)
            return error;
        piece = cut;
    }
    *at = piece;
    return 0;
}

static int run_window(mt_matches *m, const mt_match_request *r, uint64_t *at, uint64_t end) {
    uint64_t from = *at, stop = 0;
    int error = find_pages(m, r, at, end, &stop);
    if (error || *at >= end)
        return error;
    if (r->protect)
        return protect_window(m, r, from, at, stop, end);
    error = look_all(m, r, *at, &stop, stop);
    *at = stop;
    return error;
}

/* ---- before Linux 6.7: the entries of pagemap, Documentation/admin-guide/mm/pagemap.rst ------------------ */

static int matches(const mt_match_request *r, uint64_t categories) {
    for (size_t i = 0; i < r->scan_count; i++) {
        const mt_masks *masks = &r->scans[i];
        uint64_t now = categories ^ masks->inverted;
        if ((now & masks->mask) == masks->mask && (!masks->anyof || now & masks->anyof))
            return 1;
    }
    return 0;
}

static int read_window(mt_matches *m, const mt_match_request *r, uint64_t *at, uint64_t end) {
    size_t bytes = mt_smaller((end - *at) / MT_PAGE, ENTRIES) * sizeof *m->entries;
    ssize_t got = pread(r->pagemap_fd, m->entries, bytes, (off_t)(*at / MT_PAGE * sizeof *m->entries));
    if (got < 0)
        return errno == EINTR ? 0 : -errno;
    size_t count = (size_t)got / sizeof *m->entries;
    if (!count) /* the file never ends below the last mapping, but it does when the mm is gone */
        return -ESRCH;
    for (size_t i = 0; i < count; i++, *at += MT_PAGE) {
        uint64_t categories = entry_categories(m->entries[i]);
        if (!(categories & SOMETHING) || !matches(r, categories))
            continue;
        int error = push(&m->found, *at, *at + MT_PAGE, categories & r->returns);
        if (error)
            return error;
    }
    return 0;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

int mt_match_run(mt_matches *m, const mt_match_request *r, uint64_t *at, uint64_t end) {
    m->found.count = 0;
    if (r->protect && !r->use_ioctl)
        return -EOPNOTSUPP;
    while (*at < end && m->found.count < ENOUGH) {
        int error = r->use_ioctl ? run_window(m, r, at, end) : read_window(m, r, at, end);
        if (error)
            return error;
    }
    return 0;
}

mt_matches *mt_matches_new(void) {
    mt_matches *m = calloc(1, sizeof *m);
    if (m)
        m->stride = GIGANTIC;
    return m;
}

void mt_matches_free(mt_matches *m) {
    if (!m)
        return;
    free(m->found.items);
    free(m->piece.items);
    free(m->look.items);
    free(m->merged.items);
    free(m);
}

size_t mt_matches_count(const mt_matches *m) {
    return m->found.count;
}

const mt_match *mt_matches_items(const mt_matches *m) {
    return m->found.items;
}
