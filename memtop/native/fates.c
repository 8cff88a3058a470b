/* What a dump says of each page of its mappings, and how the index of a snapshot says it. */
#include "core.h"

#include <string.h>

void mt_runs_tag(const mt_run *runs, size_t count, uint32_t flags, mt_run *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (mt_run){runs[i].start, runs[i].pages, flags};
}

size_t mt_runs_tagged(const mt_run *runs, size_t count, uint32_t mask, uint32_t least, uint32_t most, mt_run *out) {
    size_t made = 0;
    for (size_t i = 0; i < count; i++)
        if ((runs[i].flags & mask) >= least && (runs[i].flags & mask) <= most)
            out[made++] = (mt_run){runs[i].start, runs[i].pages, 0};
    return made;
}

void mt_fates(const mt_run *known, size_t count, mt_part *parts, size_t part_count, mt_run *out) {
    size_t i = 0;
    for (mt_part *part = parts; part < parts + part_count; part++) {
        mt_run *first = out;
        uint64_t at = part->take;
        out = mt_run_put(first, out, part->start, part->take, part->beside);
        while (i < count && mt_run_end(&known[i]) <= at)
            i++;
        while (i < count && known[i].start < part->stop) {
            uint64_t start = known[i].start > at ? known[i].start : at;
            uint64_t end = mt_run_end(&known[i]) < part->stop ? mt_run_end(&known[i]) : part->stop;
            out = mt_run_put(first, out, at, start, part->rest);
            out = mt_run_put(first, out, start, end, known[i].flags == part->doubted ? part->rest : known[i].flags);
            at = end;
            if (mt_run_end(&known[i]) > part->stop)
                break; /* it goes on in the next one */
            i++;
        }
        out = mt_run_put(first, out, at, part->stop, part->rest);
        out = mt_run_put(first, out, part->stop, part->end, part->beside);
        part->runs = (uint64_t)(out - first);
    }
}

size_t mt_records(const mt_run *runs, size_t count, uint32_t data, const mt_piece *pieces, size_t piece_count,
                  mt_record *out) {
    const mt_piece *end = pieces + piece_count;
    mt_record *at = out;
    for (const mt_run *run = runs; run < runs + count; run++)
        if ((uint8_t)run->flags != data)
            *at++ = (mt_record){.start = run->start, .pages = run->pages, .kind = (uint8_t)run->flags,
                                .error = (uint8_t)(run->flags >> 8)};
        else
            for (; pieces < end && pieces->address < mt_run_end(run); pieces++)
                *at++ = (mt_record){.start = pieces->address, .position = pieces->offset,
                                    .length = pieces->pages * MT_PAGE, .pages = pieces->pages, .kind = (uint8_t)data};
    return (size_t)(at - out);
}

uint64_t mt_record_hashes(const mt_record *records, size_t count, uint8_t data, const uint64_t *slots, uint64_t base,
                          uint64_t *out) {
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        if (records[i].kind == data) {
            if (out)
                memcpy(out + pages, slots + (records[i].position - base) / MT_PAGE, records[i].pages * sizeof *out);
            pages += records[i].pages;
        }
    return pages;
}

void mt_record_kinds(const mt_record *records, size_t count, uint64_t *pages) {
    for (size_t i = 0; i < count; i++)
        pages[records[i].kind] += records[i].pages;
}
