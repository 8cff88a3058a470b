/* The whole address space in the cells of a screen; stretches that hold nothing resident are folded. */
#include <stdbool.h>
#include <string.h>

#include "core.h"

#define KINDS 16
#define EMPTY 16 /* cells in a row with nothing resident that are worth a fold */

typedef struct {
    mt_block *blocks;
    size_t count, room, columns, rows, column, row;
    uint64_t bytes[KINDS], most; /* of the last block, by kind; of its main mapping */
    uint8_t mark_kind;           /* that stands on screen last */
    bool apart;                  /* what lies far from the others begins a row */
} layout;

static unsigned group_of(uint8_t kind) {
    return kind == MT_KIND_TEXT || kind == MT_KIND_DATA ? MT_KIND_FILE : kind;
}

/* The last block has all its mappings now: its kind, its marks, its place. False: no room is left. */
static bool settle(layout *l, uint64_t cell) {
    if (!l->count)
        return true;
    mt_block *b = &l->blocks[l->count - 1];
    for (unsigned kind = 0; kind < KINDS; kind++)
        if (l->bytes[kind] > l->bytes[b->kind])
            b->kind = (uint8_t)kind;
    uint64_t gap = l->count > 1 && b->start > b[-1].start ? b->start - (b[-1].start + cell) : 0;
    b->gap = gap;
    unsigned width = 1 + (gap ? gap >= MT_FAR_GAP ? MT_FAR_WIDTH : 1 : 0);
    b->lettered = gap || l->count == 1 || b->kind != l->mark_kind;
    width += b->lettered;
    l->mark_kind = b->kind;
    if (l->column + width > l->columns || (l->apart && gap >= MT_FAR_GAP)) {
        l->column = 0;
        l->row++;
    }
    b->column = (uint16_t)(l->column + width - 1);
    b->row = (uint16_t)l->row;
    l->column += width;
    return l->row < l->rows;
}

static bool any_resident(const mt_mapping *m, const mt_count *c, uint64_t start, uint64_t end) {
    uint64_t bit = ((m->end - m->start) / MT_PAGE + 63) / 64 * MT_PAGE;
    uint64_t first = (start - m->start) / bit, last = (end - 1 - m->start) / bit;
    return c->resident_map >> first & (last - first >= 63 ? ~0ull : (2ull << (last - first)) - 1);
}

/* Where to go on in a mapping behind start: at start, or behind so many cells that hold nothing resident. The
 * first cell of a mapping is always shown. */
static uint64_t skip_empty(const mt_mapping *m, const mt_count *c, uint64_t start, uint64_t cell) {
    uint64_t bit = ((m->end - m->start) / MT_PAGE + 63) / 64 * MT_PAGE, at = start;
    if (!(c->flags & MT_COUNT_SCANNED)) /* nobody knows what it holds */
        return start;
    while (at < m->end && !(c->resident_map >> (at - m->start) / bit & 1))
        at = m->start + ((at - m->start) / bit + 1) * bit;
    at = at < m->end ? at & ~(cell - 1) : m->end;
    return at > start && at - start >= EMPTY * cell ? at : start;
}

/* False: this cell size takes more room than there is. */
static bool lay(layout *l, const mt_mapping *items, const mt_count *counts, size_t count, uint64_t cell) {
    l->count = l->column = l->row = 0;
    l->mark_kind = KINDS;
    for (size_t i = 0; i < count; i++) {
        const mt_mapping *m = &items[i];
        if (m->start >> 63) /* [vsyscall] is no part of it */
            break;
        uint64_t start = m->start & ~(cell - 1);
        for (; start < m->end; start = skip_empty(m, &counts[i], start + cell, cell)) {
            mt_block *b = l->count ? &l->blocks[l->count - 1] : NULL;
            if (!b || b->start != start) {
                if (!settle(l, cell) || l->count == l->room)
                    return false;
                b = &l->blocks[l->count++];
                *b = (mt_block){.start = start, .first = (uint32_t)i, .main = (uint32_t)i};
                memset(l->bytes, 0, sizeof l->bytes);
                l->most = 0;
            }
            uint64_t from = start > m->start ? start : m->start;
            uint64_t to = start + cell < m->end ? start + cell : m->end;
            b->count++;
            b->resident |= any_resident(m, &counts[i], from, to);
            l->bytes[group_of(m->kind) % KINDS] += to - from;
            if (to - from > l->most) {
                l->most = to - from;
                b->main = (uint32_t)i;
                b->kind = (uint8_t)group_of(m->kind);
            }
        }
    }
    return settle(l, cell);
}

size_t mt_space_lay(const mt_mapping *items, const mt_count *counts, size_t count, size_t columns, size_t rows,
                    uint64_t *cell, mt_block *blocks) {
    layout l = {.blocks = blocks, .room = columns * rows, .columns = columns, .rows = rows};
    for (*cell = MT_PAGE; *cell < 1ull << 47; *cell *= 2)
        if (lay(&l, items, counts, count, *cell)) {
            l.apart = true;
            if (!lay(&l, items, counts, count, *cell)) {
                l.apart = false;
                lay(&l, items, counts, count, *cell);
            }
            return l.count;
        }
    return 0;
}

void mt_space_age(const mt_block *blocks, size_t count, uint64_t cell, const mt_run *runs, size_t run_count,
                  double time, double *times) {
    size_t k = 0;
    for (size_t i = 0; i < run_count; i++) {
        uint64_t start = runs[i].start, end = mt_run_end(&runs[i]);
        while (k < count && blocks[k].start + cell <= start)
            k++;
        for (size_t j = k; j < count && blocks[j].start < end; j++)
            times[j] = time > times[j] ? time : times[j];
    }
}

void mt_space_mark(const mt_block *blocks, size_t count, uint64_t cell, uint64_t start, uint64_t size,
                   const double *from, size_t from_count, double *times) {
    size_t k = 0, behind = count;
    while (k < behind) {
        size_t middle = k + (behind - k) / 2;
        if (blocks[middle].start + cell > start)
            behind = middle;
        else
            k = middle + 1;
    }
    for (size_t i = 0; i < from_count && k < count; i++) {
        uint64_t at = start + i * size, end = at + size;
        while (k < count && blocks[k].start + cell <= at)
            k++;
        for (size_t j = k; from[i] > 0 && j < count && blocks[j].start < end; j++)
            if (from[i] > times[j])
                times[j] = from[i];
    }
}
