/* For the tests that scan their own process: what was written is known here page by page. */
#ifndef MEMTOP_TEST_SCANNING_H
#define MEMTOP_TEST_SCANNING_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define GUARD 0x100
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

static int pagemap, uffd, guard;
static mt_scan *scan;
static uint64_t seed = 20240101;

static inline char *map(size_t bytes, int flags) {
    /* Aligned to 2 MiB, so that each test knows where huge pages may be. */
    size_t spare = flags & MAP_HUGETLB ? 0 : 2 * MIB;
    flags |= MAP_ANONYMOUS | (flags & MAP_HUGETLB ? 0 : MAP_NORESERVE);
    char *p = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *aligned = (char *)(((uintptr_t)p + spare) & ~(uintptr_t)(2 * MIB - 1));
    if (spare) {
        munmap(p, (size_t)(aligned - p));
        munmap(aligned + bytes, (size_t)(p + spare - aligned));
        CHECK_EQ(madvise(aligned, bytes, MADV_NOHUGEPAGE), 0);
    }
    return aligned;
}

static inline void arm(const void *p, size_t bytes) {
    struct uffdio_register r = {.range = {(uintptr_t)p, bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
    CHECK_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
}

static inline void disarm(const void *p, size_t bytes) {
    struct uffdio_range r = {(uintptr_t)p, bytes};
    CHECK_EQ(ioctl(uffd, UFFDIO_UNREGISTER, &r), 0);
}

static inline mt_mapping mapping(const void *p, size_t bytes) {
    return (mt_mapping){.start = (uintptr_t)p, .end = (uintptr_t)p + bytes, .perms = 3};
}

static inline mt_scan_request request(void) {
    return (mt_scan_request){.pagemap_fd = pagemap, .use_ioctl = 1, .guard_bit = (uint32_t)guard, .sparse_limit = 1 << 22};
}

static inline void run(const mt_scan_request *r, const mt_mapping *items, uint8_t mode, size_t count, mt_count *counts) {
    uint8_t modes[16];
    memset(modes, mode, sizeof modes);
    CHECK_EQ(mt_scan_run(scan, r, items, modes, count, counts), 0);
    const mt_run *runs = mt_scan_runs(scan);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(counts[i].flags & MT_COUNT_SCANNED);
        CHECK_EQ(mt_runs_pages(runs + counts[i].first_run, counts[i].run_count), counts[i].written);
        total += counts[i].run_count;
        for (uint32_t k = 0; k < counts[i].run_count; k++) {
            const mt_run *a = &runs[counts[i].first_run + k];
            CHECK(a->start >= items[i].start && a->start + a->pages * 4096ull <= items[i].end);
            CHECK(counts[i].first_run + k == 0 || a[-1].start + a[-1].pages * 4096ull <= a->start);
        }
    }
    CHECK_EQ(total, mt_scan_run_count(scan));
}

static inline mt_count run_one(const mt_mapping *m, uint8_t mode) {
    mt_scan_request r = request();
    mt_count count;
    run(&r, m, mode, 1, &count);
    return count;
}

/* The runs name exactly the pages that are marked, and the 64 cells show them. */
static inline void check_written(const mt_mapping *m, const mt_count *count, const uint8_t *written) {
    uint64_t pages = (m->end - m->start) / 4096, cell = (pages + 63) / 64, cells = 0, wanted = 0;
    uint8_t *seen = calloc(pages, 1);
    for (uint32_t k = 0; k < count->run_count; k++) {
        const mt_run *run = &mt_scan_runs(scan)[count->first_run + k];
        memset(seen + (run->start - m->start) / 4096, 1, run->pages);
    }
    for (uint64_t p = 0; p < pages; p++) {
        CHECK_EQ(seen[p], written[p]);
        cells |= (uint64_t)written[p] << p / cell;
        wanted += written[p];
    }
    CHECK_EQ(count->written, wanted);
    CHECK_EQ(count->written_map, cells);
    free(seen);
}

/* Whether there is anything to test with; else it has said what is missing. */
static inline int begin(int protecting) {
    scan = mt_scan_new();
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    if (pagemap < 0 || mt_scan_probe(pagemap, 8) != 0) {
        printf("skip: PAGEMAP_SCAN\n");
        return 0;
    }
    guard = mt_scan_probe(pagemap, GUARD) == 0 ? GUARD : 0;
    if (!protecting)
        return 1;
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
    struct uffdio_api api = {.api = UFFD_API, .features = 1 << 15 | 1 << 13 /* WP_ASYNC, WP_UNPOPULATED */};
    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
        printf("skip: userfaultfd with WP_ASYNC\n");
        return 0;
    }
    return 1;
}

static inline int finish(void) {
    mt_scan_free(scan);
    mt_scan_free(NULL);
    return 0;
}

#endif
