/* Which mapping of now is which mapping of before. */
#include "core.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT64_MAX

typedef struct {
    const mt_mapping *items;
    const char *names;
    size_t count;
} side;

typedef struct {
    uint64_t bytes;      /* of overlap */
    uint32_t old, fresh; /* indices */
} overlap;

typedef struct {
    const mt_mapping *item;
    const char *name;
    uint32_t index;
} leftover;

static const char *name_of(const side *s, const mt_mapping *m) {
    return m->name_len ? s->names + m->name_at : "";
}

/* < 0, 0, > 0.  A file is known by its inode alone: unlinking it changes its name to "... (deleted)". */
static int compare_backing(const mt_mapping *a, const char *a_name, const mt_mapping *b, const char *b_name) {
    int a_shared = a->perms & MT_PERM_SHARED, b_shared = b->perms & MT_PERM_SHARED;
    if (a_shared != b_shared)
        return a_shared - b_shared;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    if (a->dev_major != b->dev_major)
        return a->dev_major < b->dev_major ? -1 : 1;
    if (a->dev_minor != b->dev_minor)
        return a->dev_minor < b->dev_minor ? -1 : 1;
    if (a->inode)
        return 0;
    if (a->name_len != b->name_len)
        return a->name_len < b->name_len ? -1 : 1;
    return memcmp(a_name, b_name, a->name_len);
}

/* Most overlap first; equal ones by address, so that the answer does not depend on the sort. */
static int by_overlap(const void *left, const void *right) {
    const overlap *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    if (a->fresh != b->fresh)
        return a->fresh < b->fresh ? -1 : 1;
    return a->old < b->old ? -1 : a->old > b->old;
}

/* What mremap keeps: size and backing, and for files the offset. */
static int compare_content(const leftover *a, const leftover *b) {
    uint64_t a_size = a->item->end - a->item->start, b_size = b->item->end - b->item->start;
    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    int backing = compare_backing(a->item, a->name, b->item, b->name);
    if (backing || !a->item->inode)
        return backing;
    return a->item->offset < b->item->offset ? -1 : a->item->offset > b->item->offset;
}

static int by_content(const void *left, const void *right) {
    const leftover *a = left, *b = right;
    int content = compare_content(a, b);
    return content ? content : a->index < b->index ? -1 : a->index > b->index;
}

/* One walk along both arrays. What stands unchanged is settled at once; other overlaps are collected. */
static size_t find_overlaps(const side *before, const uint64_t *before_ids, uint8_t *taken, const side *now,
                            uint64_t *now_ids, overlap *found) {
    size_t count = 0;
    for (size_t i = 0, j = 0; i < before->count && j < now->count;) {
        const mt_mapping *old = &before->items[i], *fresh = &now->items[j];
        uint64_t start = old->start > fresh->start ? old->start : fresh->start;
        uint64_t end = old->end < fresh->end ? old->end : fresh->end;
        if (start < end && !compare_backing(old, name_of(before, old), fresh, name_of(now, fresh))) {
            if (old->start == fresh->start && old->end == fresh->end) {
                now_ids[j] = before_ids[i];
                taken[i] = 1;
            } else {
                found[count++] = (overlap){end - start, (uint32_t)i, (uint32_t)j};
            }
        }
        if (old->end <= fresh->end)
            i++;
        if (fresh->end <= old->end)
            j++;
    }
    return count;
}

/* Moved mappings: those left over on both sides, matched in the order of their addresses. */
static void match_moved(const uint64_t *before_ids, leftover *gone, size_t gone_count, uint64_t *now_ids,
                        leftover *come, size_t come_count) {
    qsort(gone, gone_count, sizeof *gone, by_content);
    qsort(come, come_count, sizeof *come, by_content);
    for (size_t i = 0, j = 0; i < gone_count && j < come_count;) {
        int order = compare_content(&gone[i], &come[j]);
        if (order == 0)
            now_ids[come[j].index] = before_ids[gone[i].index];
        i += order <= 0;
        j += order >= 0;
    }
}

int64_t mt_identify(const mt_mapping *before, const char *before_names, const uint64_t *before_ids,
                    size_t before_count, const mt_mapping *now, const char *now_names, uint64_t *now_ids,
                    size_t now_count, uint64_t *next_id) {
    side old = {before, before_names, before_count}, fresh = {now, now_names, now_count};
    size_t most = before_count + now_count;
    overlap *found = malloc((most + 1) * sizeof *found);
    leftover *rest = malloc((most + 1) * sizeof *rest);
    uint8_t *taken = calloc(before_count + 1, 1);
    int64_t made = -ENOMEM;
    if (!found || !rest || !taken)
        goto out;

    for (size_t j = 0; j < now_count; j++)
        now_ids[j] = NONE;
    size_t overlaps = find_overlaps(&old, before_ids, taken, &fresh, now_ids, found);
    qsort(found, overlaps, sizeof *found, by_overlap);
    for (size_t k = 0; k < overlaps; k++) {
        if (taken[found[k].old] || now_ids[found[k].fresh] != NONE)
            continue;
        now_ids[found[k].fresh] = before_ids[found[k].old];
        taken[found[k].old] = 1;
    }

    leftover *gone = rest, *come = rest;
    for (size_t i = 0; i < before_count; i++)
        if (!taken[i])
            *come++ = (leftover){&before[i], name_of(&old, &before[i]), (uint32_t)i};
    leftover *end = come;
    for (size_t j = 0; j < now_count; j++)
        if (now_ids[j] == NONE)
            *end++ = (leftover){&now[j], name_of(&fresh, &now[j]), (uint32_t)j};
    if (come > gone && end > come)
        match_moved(before_ids, gone, (size_t)(come - gone), now_ids, come, (size_t)(end - come));

    made = 0;
    for (size_t j = 0; j < now_count; j++) {
        if (now_ids[j] == NONE) {
            now_ids[j] = (*next_id)++;
            made++;
        }
    }
out:
    free(found);
    free(rest);
    free(taken);
    return made;
}
