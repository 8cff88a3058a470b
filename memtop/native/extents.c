/*
 * Where in a file the pages of an address space are: sorted pieces that never overlap.  They are only added to, and what
 * goes on in memory and in the file is one piece.
 */
#include "core.h"

#include <string.h>

static uint64_t end_of(const mt_piece *piece) {
    return piece->address + piece->pages * MT_PAGE;
}

/* Writes [start, end) behind the pieces from first to at. */
static mt_piece *put(const mt_piece *first, mt_piece *at, uint64_t start, uint64_t end, uint64_t offset) {
    while (start < end) {
        uint64_t pages = mt_smaller((end - start) / MT_PAGE, UINT32_MAX);
        mt_piece *last = at > first ? at - 1 : 0;
        if (last && end_of(last) == start && last->offset + (start - last->address) == offset &&
            pages <= UINT32_MAX - last->pages)
            last->pages += (uint32_t)pages;
        else
            *at++ = (mt_piece){start, offset, (uint32_t)pages, 0};
        start += pages * MT_PAGE;
        offset += pages * MT_PAGE;
    }
    return at;
}

size_t mt_runs_widen(const mt_run *runs, size_t count, uint64_t granule, uint64_t gap, mt_run *out) {
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t low = runs[i].start & ~(granule - 1), high = (mt_run_end(&runs[i]) + granule - 1) & ~(granule - 1);
        mt_run *last = made ? &out[made - 1] : 0;
        if (last && low <= mt_run_end(last) + gap && (high - last->start) / MT_PAGE <= UINT32_MAX) {
            if (high > mt_run_end(last))
                last->pages = (uint32_t)((high - last->start) / MT_PAGE);
            continue;
        }
        if (last && low < mt_run_end(last))
            low = mt_run_end(last);
        if (low < high)
            out[made++] = (mt_run){low, (uint32_t)((high - low) / MT_PAGE), 0};
    }
    return made;
}

size_t mt_extents_cover(const mt_piece *have, size_t count, const mt_run *runs, size_t run_count, uint64_t *room,
                        mt_piece *out) {
    mt_piece *at = out;
    size_t i = 0;
    for (const mt_run *run = runs; run < runs + run_count; run++) {
        uint64_t start = run->start, end = mt_run_end(run);
        for (; i < count && have[i].address < end; i++) {
            if (start < have[i].address) {
                at = put(out, at, start, have[i].address, *room);
                *room += have[i].address - start;
            }
            if (end_of(&have[i]) > start)
                start = end_of(&have[i]);
            if (start > end)
                break; /* it reaches into what comes next */
            at = put(out, at, have[i].address, end_of(&have[i]), have[i].offset);
        }
        if (start < end) {
            at = put(out, at, start, end, *room);
            *room += end - start;
        }
    }
    for (; i < count; i++)
        at = put(out, at, have[i].address, end_of(&have[i]), have[i].offset);
    return (size_t)(at - out);
}

size_t mt_extents_find(const mt_piece *have, size_t count, uint64_t address) {
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (end_of(&have[middle]) > address)
            count = middle;
        else
            low = middle + 1;
    }
    return low;
}

size_t mt_extents_pieces(const mt_piece *have, size_t count, const mt_run *runs, size_t run_count, mt_piece *out) {
    mt_piece *at = out;
    size_t i = run_count ? mt_extents_find(have, count, runs->start) : count;
    for (const mt_run *run = runs; run < runs + run_count; run++) {
        while (i < count && end_of(&have[i]) <= run->start)
            i++;
        for (size_t k = i; k < count && have[k].address < mt_run_end(run); k++) {
            uint64_t start = have[k].address > run->start ? have[k].address : run->start;
            uint64_t end = mt_smaller(end_of(&have[k]), mt_run_end(run));
            *at++ = (mt_piece){start, have[k].offset + (start - have[k].address), (uint32_t)((end - start) / MT_PAGE), 0};
        }
    }
    return (size_t)(at - out);
}

size_t mt_pieces_of(const mt_run *runs, size_t count, mt_piece *out) {
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = (mt_piece){runs[i].start, offset, runs[i].pages, 0};
        offset += runs[i].pages * MT_PAGE;
    }
    return count;
}

uint64_t mt_pieces_pages(const mt_piece *pieces, size_t count) {
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        pages += pieces[i].pages;
    return pages;
}

void mt_keep_hashes(const mt_piece *pieces, size_t count, const uint64_t *hashes, uint64_t base, uint64_t *slots) {
    for (size_t i = 0; i < count; hashes += pieces[i++].pages)
        memcpy(slots + (pieces[i].offset - base) / MT_PAGE, hashes, pieces[i].pages * sizeof *hashes);
}
