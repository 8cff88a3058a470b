/* Where PAGEMAP_SCAN is missing (before Linux 6.7): the 64-bit entries of /proc/PID/pagemap, see
 * Documentation/admin-guide/mm/pagemap.rst.  They tell nothing of huge or zero pages. */
#include "scan.h"

#include <errno.h>
#include <unistd.h>

static inline uint64_t categories_of(uint64_t entry, uint64_t wanted) {
    uint64_t categories = entry_categories(entry);
    return categories & SOMETHING ? categories & wanted : 0; /* holes of a new mapping carry the soft-dirty bit too */
}

/* Neighbours of the same categories become one region. */
static int tally_entries(tally *t, uint64_t address, const uint64_t *entries, size_t count, uint64_t wanted) {
    for (size_t i = 0, next; i < count; i = next) {
        uint64_t categories = categories_of(entries[i], wanted);
        for (next = i + 1; next < count; next++)
            if (entries[next] != entries[i] && categories_of(entries[next], wanted) != categories)
                break;
        if (!categories)
            continue;
        int error = tally_region(t, address + i * MT_PAGE, address + next * MT_PAGE, categories);
        if (error)
            return error;
    }
    return 0;
}

int pagemap_count(tally *t, const mt_mapping *m, uint8_t mode) {
    uint64_t *entries = t->scan->entries;
    uint64_t wanted = PAGE_PRESENT | PAGE_SWAPPED | (mode == MT_MODE_SOFT_DIRTY ? PAGE_SOFT_DIRTY : 0);
    for (uint64_t at = m->start; at < m->end;) {
        uint64_t pages = (m->end - at) / MT_PAGE, room = sizeof t->scan->entries / sizeof *entries;
        size_t bytes = (pages < room ? pages : room) * sizeof *entries;
        ssize_t got = pread(t->request->pagemap_fd, entries, bytes, (off_t)(at / MT_PAGE * sizeof *entries));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        size_t count = (size_t)got / sizeof *entries;
        if (!count) /* the file never ends below the last mapping, but it does when the mm is gone */
            return -ESRCH;
        int error = tally_entries(t, at, entries, count, wanted);
        if (error)
            return error;
        at += count * MT_PAGE;
    }
    return 0;
}
