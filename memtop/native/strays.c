/* Mappings that lost their registration and look the same in maps, and the protection that they kept. */
#include <errno.h>

#include "scan.h"

/* WPALLOWED inverted: the kernel skips registered mappings without walking them. */
static const look STRAY = {.inverted = PAGE_WPALLOWED, .mask = PAGE_WPALLOWED, .anyof = SOMETHING};

/* Looks at the bit alone, whether or not anybody still heeds it. */
static const look PROTECTED = {.inverted = PAGE_WRITTEN, .mask = PAGE_WRITTEN, .anyof = SOMETHING};

/* Adds the mappings of a group that the look matches, each after one page, up to room. */
static int find_mappings(const area *a, const look *l, uint32_t *found, size_t *count, size_t room) {
    uint64_t at = a->items[a->first].start, end = a->items[a->last - 1].end;
    for (size_t i = a->first; i < a->last && *count < room; at = skip_gap(a, &i, at)) {
        page_region page;
        int got = look_plain(a, l, &at, end, 1, &page, 1);
        if (got < 0)
            return got;
        if (got == 0)
            continue;
        skip_gap(a, &i, page.start);
        if (i < a->last && a->items[i].start <= page.start) { /* else it lies in a gap */
            found[(*count)++] = (uint32_t)i;
            at = a->items[i].end;
        }
    }
    return 0;
}

int64_t mt_scan_strays(mt_scan *scan, int pagemap_fd, const mt_mapping *items, const uint8_t *modes,
                       size_t count, uint32_t *found, size_t room) {
    size_t strays = 0;
    for (size_t first = 0, last; first < count && strays < room; first = last) {
        for (last = first + 1; last < count && is_armed(modes[last]) == is_armed(modes[first]); last++)
            ;
        if (!is_armed(modes[first]))
            continue;
        area a = {scan, pagemap_fd, items, first, last};
        int error = find_mappings(&a, &STRAY, found, &strays, room);
        if (error)
            return error;
    }
    return (int64_t)strays;
}

/* Where the mapping has changed meanwhile, what is still registered is found by halving. */
static void unprotect(int uffd, uint64_t start, uint64_t end) {
    uint64_t middle = start + (end - start) / 2 / MT_PAGE * MT_PAGE;
    if (mt_uffd_unprotect(uffd, start, end - start) == -ENOENT && middle > start) {
        unprotect(uffd, start, middle);
        unprotect(uffd, middle, end);
    }
}

int mt_scan_unprotect(mt_scan *scan, int pagemap_fd, int uffd, const mt_mapping *items, const uint32_t *index,
                      size_t count) {
    page_region *regions = scan->regions;
    for (size_t k = 0; k < count; k++) {
        area a = {scan, pagemap_fd, items, index[k], index[k] + 1};
        for (uint64_t at = items[index[k]].start, end = items[index[k]].end; at < end;) {
            int got = look_plain(&a, &PROTECTED, &at, end, SLICE / MT_PAGE, regions, REGIONS);
            if (got < 0)
                return got;
            for (int i = 0; i < got; i++)
                unprotect(uffd, regions[i].start, regions[i].end);
        }
    }
    return 0;
}
