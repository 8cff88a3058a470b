/* The index of a snapshot as it is read.  Nothing in it is trusted: each number is checked before its use. */
#include "core.h"

static int check(const mt_record *record, mt_index *index) {
    uint64_t bytes = record->pages * MT_PAGE;
    if (record->kind < 1 || record->kind > index->kinds || bytes == 0 || record->start % MT_PAGE ||
        record->start > UINT64_MAX - bytes || (record->error && record->kind == index->data))
        return MT_INDEX_NO_RUN;
    if (record->kind == index->data) {
        if (record->position < index->low || record->position > index->high ||
            record->length > index->high - record->position)
            return MT_INDEX_OUTSIDE;
        if (index->frame_pages) {
            if (record->length == 0 || record->length > index->frame_bytes || record->skip > index->frame_pages ||
                record->pages > index->frame_pages - record->skip)
                return MT_INDEX_MISFIT;
        } else {
            index->contents += record->length; /* none is stored twice */
            if (record->length != bytes || record->skip || record->check || index->contents > index->high - index->low)
                return MT_INDEX_MISFIT;
        }
        index->pages += record->pages;
    }
    if (record->start != index->at || bytes > index->end - index->at)
        return MT_INDEX_GAP;
    index->at += bytes;
    return MT_INDEX_OK;
}

int mt_index_check(const mt_record *records, size_t count, mt_index *index) {
    int found = MT_INDEX_OK;
    for (size_t i = 0; i < count && found == MT_INDEX_OK; i++)
        found = check(&records[i], index);
    return found;
}

void mt_index_columns(const mt_record *records, size_t count, uint8_t data, uint64_t *starts, uint64_t *hashes) {
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        starts[i] = records[i].start;
        hashes[i] = before;
        before += records[i].kind == data ? records[i].pages : 0;
    }
}

void mt_index_runs(const mt_record *records, size_t count, mt_run *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (mt_run){records[i].start, records[i].pages, records[i].kind | (uint32_t)records[i].error << 8};
}
