/* What the files of the scan share: the kernel's interface (look.c), where to look and how (sweep.c), what the
 * answers add up to (tally.c), and the fallback (pagemap.c). scan.c and strays.c are what api.h offers of it. */
#ifndef MEMTOP_SCAN_H
#define MEMTOP_SCAN_H

#include <stdbool.h>
#include <sys/ioctl.h>

#include "core.h"

/* include/uapi/linux/fs.h of Linux 6.7 and later; own names, because older headers lack it all. */
#define PAGE_WPALLOWED 0x01ull
#define PAGE_WRITTEN 0x02ull
#define PAGE_FILE 0x04ull
#define PAGE_PRESENT 0x08ull
#define PAGE_SWAPPED 0x10ull
#define PAGE_PFNZERO 0x20ull
#define PAGE_HUGE 0x40ull
#define PAGE_SOFT_DIRTY 0x80ull
#define PAGE_GUARD 0x100ull

#define SOMETHING (PAGE_PRESENT | PAGE_SWAPPED) /* no hole */

#define SCAN_WP_MATCHING 1ull

/* Entries of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst. */
#define ENTRY_SOFT_DIRTY (1ull << 55)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_PRESENT (1ull << 63)

/* What an entry tells, in the words of the scan. */
static inline uint64_t entry_categories(uint64_t entry) {
    return (entry & ENTRY_PRESENT ? PAGE_PRESENT : 0) | (entry & ENTRY_SWAPPED ? PAGE_SWAPPED : 0) |
           (entry & ENTRY_FILE ? PAGE_FILE : 0) | (entry & ENTRY_SOFT_DIRTY ? PAGE_SOFT_DIRTY : 0);
}

typedef struct {
    uint64_t start, end, categories;
} page_region;

typedef struct {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
} scan_arg;

_Static_assert(sizeof(page_region) == 24 && sizeof(scan_arg) == 96, "the kernel checks the size");

#define SCAN_IOCTL _IOWR('f', 16, scan_arg)

#define SLICE (64ull << 20)   /* address space that one call may walk while it holds the target's mmap lock */
#define GIGANTIC (1ull << 30) /* the largest huge page of x86-64 and arm64 */
#define REGIONS 4096          /* a vec of 96 KiB stays in the cache; longer ones are slower */
#define HINTS 1024

typedef struct {
    mt_run *items;
    size_t count, room;
} run_list;

struct mt_scan {
    run_list runs;
    run_list late, due; /* see tally_late: of this scan, of the one before */
    uint64_t stride;    /* bytes that one plain look may cover */
    page_region hints[HINTS];
    union {
        page_region regions[REGIONS];
        uint64_t entries[8192]; /* pagemap fallback: 64 KiB are 32 MiB of address space */
    };
};

/* What one look at a group of mappings matches, returns and does; see scan_arg.
 * Holes match no look that protects: the kernel calls them written, and page tables would be allocated. */
typedef struct {
    uint64_t flags, inverted, mask, anyof, returns;
} look;

typedef struct {
    mt_scan *scan;
    int fd;
    const mt_mapping *items;
    size_t first, last; /* the group: neighbours in one mode */
} area;

/* One ioctl, arg->start to arg->end. Regions in vec, or -errno. */
int look_call(const area *a, const look *l, scan_arg *arg, page_region *vec, uint64_t room);
/* Where to go on. walk_end alone does not say it: it stops moving after 512 regions. */
uint64_t look_resume(const scan_arg *arg, const page_region *last);
/* A look that changes nothing, from *at towards end: at most max_pages pages, and at most a stride, which
 * grows while empty space is cheap and shrinks where emptied page tables make it slow. Moves *at. */
int look_plain(const area *a, const look *l, uint64_t *at, uint64_t end, uint64_t max_pages, page_region *vec,
               uint64_t room);
/* Where to look next: address at, or behind the gap that it lies in; *i becomes its mapping. */
uint64_t skip_gap(const area *a, size_t *i, uint64_t at);

/* Counts regions into the mappings they belong to; one that spans several is split. Regions come in rising
 * order between two calls of tally_begin. */
typedef struct {
    mt_scan *scan;
    const mt_scan_request *request;
    const mt_mapping *items;
    mt_count *counts;
    size_t at, last;    /* mapping that is being counted, and the end of its group */
    uint64_t cell;      /* bytes in a 64th of it */
    uint64_t cell_start, cell_end, cell_index; /* the 64th that was touched last */
    uint64_t watch_end; /* byte address behind the watched range */
    bool keep_late;     /* written pages between the mappings are kept for the next scan */
} tally;

void tally_reset(mt_scan *scan);
void tally_begin(tally *t, size_t first, size_t last, bool keep_late);
/* 0 or -ENOMEM. What is counted follows from the categories alone: PRESENT, SWAPPED, HUGE, PFNZERO, GUARD,
 * and WRITTEN or SOFT_DIRTY for written. */
int tally_region(tally *t, uint64_t start, uint64_t end, uint64_t categories);
/* The answer to a look at all but the usual pages of [from, to): what no region holds is present and small.
 * Pages of an ignored category are not counted. */
int tally_rest(tally *t, uint64_t from, uint64_t to, const page_region *regions, int count, uint64_t ignored);
/* A mapping that grew after maps was read (a stack, mremap in place) has pages that a protecting scan clears
 * but that no mapping of its table holds. They are late: the next scan, whose table has the whole mapping,
 * reports them here. 0 or -ENOMEM. */
int tally_late(mt_scan *scan, const mt_scan_request *request, const mt_mapping *items, size_t count,
               mt_count *counts);

/* Addresses of the kernel's half ([vsyscall]) have no pages that anybody may look at. */
static inline bool can_scan(const mt_mapping *m, uint8_t mode) {
    return mode != MT_MODE_SKIP && !(m->start >> 63);
}

/* One look at a whole group, slice by slice. 0 or -errno. */
int sweep(const area *a, const look *l, tally *t);
/* Whole gigantic pages fit into one window only if the window has their size. */
static inline bool maybe_gigantic(const mt_mapping *m) {
    return m->kind == MT_KIND_HUGETLB && (m->start | m->end) % GIGANTIC == 0;
}

static inline bool is_armed(uint8_t mode) {
    return mode == MT_MODE_ARMED || mode == MT_MODE_ARMED_FILE;
}

/* pagemap.c: counts one mapping by reading its pagemap entries. 0 or -errno. */
int pagemap_count(tally *t, const mt_mapping *m, uint8_t mode);

#endif
