/* Filters on pages of this very process, whose categories are known one by one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define WPALLOWED 0x01ull
#define WRITTEN 0x02ull
#define FILE_ 0x04ull
#define PRESENT 0x08ull
#define SWAPPED 0x10ull
#define PFNZERO 0x20ull
#define HUGE 0x40ull
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

static int pagemap;
static mt_matches *matches;
static uint64_t seed = 7;

static char *map(size_t bytes) {
    char *p = mmap(NULL, bytes + 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    char *aligned = (char *)(((uintptr_t)p + 2 * MIB) & ~(uintptr_t)(2 * MIB - 1));
    CHECK_EQ(madvise(aligned, bytes, MADV_NOHUGEPAGE), 0);
    return aligned;
}

static mt_match_request request(const mt_masks *scans, size_t count) {
    return (mt_match_request){.pagemap_fd = pagemap, .use_ioctl = 1, .scan_count = count, .scans = scans,
                              .returns = WRITTEN | HUGE};
}

/* Runs to the end; checks that matches are sorted and never overlap. Marks pages, returns how many regions. */
static size_t run(const mt_match_request *r, const char *p, size_t pages, uint8_t *marks, uint64_t *categories) {
    uint64_t at = (uintptr_t)p, end = at + pages * 4096, last = 0;
    size_t regions = 0;
    memset(marks, 0, pages);
    while (at < end) {
        uint64_t before = at;
        CHECK_EQ(mt_match_run(matches, r, &at, end), 0);
        CHECK(at > before && at <= end);
        regions += mt_matches_count(matches);
        for (size_t i = 0; i < mt_matches_count(matches); i++) {
            const mt_match *m = &mt_matches_items(matches)[i];
            CHECK(m->start >= last && m->end > m->start && m->start >= (uintptr_t)p && m->end <= end);
            last = m->end;
            memset(marks + (m->start - (uintptr_t)p) / 4096, 1, (m->end - m->start) / 4096);
            if (categories)
                for (uint64_t a = m->start; a < m->end; a += 4096)
                    categories[(a - (uintptr_t)p) / 4096] = m->categories;
        }
    }
    return regions;
}

static void test_looking(int use_ioctl) {
    size_t pages = 60000; /* more regions than one vec holds */
    char *p = map(pages * 4096);
    uint8_t *wanted = calloc(pages, 1), *zero = calloc(pages, 1), *seen = calloc(pages, 1);
    volatile char sum = 0;
    for (size_t i = 0; i < pages; i++) {
        uint64_t dice = random_next(&seed) % 4;
        if (dice == 0)
            p[i * 4096] = 1, wanted[i] = 1;
        if (dice == 1)
            sum += p[i * 4096], wanted[i] = zero[i] = 1;
    }
    mt_masks present = {.anyof = PRESENT | SWAPPED};
    mt_match_request r = request(&present, 1);
    r.use_ioctl = use_ioctl;
    run(&r, p, pages, seen, NULL);
    CHECK_EQ(memcmp(seen, wanted, pages), 0);
    mt_masks nothing = {.mask = FILE_};
    r.scans = &nothing;
    CHECK_EQ(run(&r, p, pages, seen, NULL), 0);
    mt_masks holes = {.inverted = PRESENT | SWAPPED, .mask = PRESENT | SWAPPED};
    r.scans = &holes; /* what is not there is no page */
    CHECK_EQ(run(&r, p, pages, seen, NULL), 0);
    if (use_ioctl) { /* two scans: a zero page, or a page that is none */
        mt_masks two[] = {{.mask = PRESENT | PFNZERO}, {.inverted = PFNZERO, .mask = PRESENT | PFNZERO}};
        uint64_t *categories = calloc(pages, sizeof *categories);
        mt_match_request both = request(two, 2);
        run(&both, p, pages, seen, categories);
        CHECK_EQ(memcmp(seen, wanted, pages), 0);
        for (size_t i = 0; i < pages; i++) { /* nobody tracks them, so none is called written */
            CHECK_EQ(!!(categories[i] & PFNZERO), zero[i]);
            CHECK(!(categories[i] & WRITTEN));
        }
        free(categories);
    } else {
        r.protect = 1;
        uint64_t at = (uintptr_t)p;
        CHECK_EQ(mt_match_run(matches, &r, &at, at + 4096), -EOPNOTSUPP);
    }
    free(wanted), free(zero), free(seen);
    munmap(p, pages * 4096);
}

static void test_sparse(void) {
    char *p = map(16 * TIB);
    size_t spots[] = {0, 3 * TIB / 4096 + 5, 16 * TIB / 4096 - 1};
    for (int i = 0; i < 3; i++)
        p[spots[i] * 4096] = 1;
    mt_masks present = {.mask = PRESENT};
    mt_match_request r = request(&present, 1);
    uint64_t at = (uintptr_t)p, end = at + 16 * TIB;
    CHECK_EQ(mt_match_run(matches, &r, &at, end), 0);
    CHECK_EQ(at, end);
    CHECK_EQ(mt_matches_count(matches), 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(mt_matches_items(matches)[i].start, (uintptr_t)p + spots[i] * 4096);
    munmap(p, 16 * TIB);
}

static int open_uffd(void) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
    return fd < 0 || mt_uffd_api(fd) ? -1 : fd;
}

/* Get and clear by a filter: what does not match stays written. */
static void test_protecting(int uffd, size_t pages) {
    char *p = map(pages * 4096);
    uint8_t *dirty = calloc(pages, 1), *seen = calloc(pages, 1);
    memset(p, 1, pages * 4096);
    CHECK_EQ(mt_uffd_register(uffd, (uintptr_t)p, pages * 4096), 0);
    mt_masks written = {.mask = WPALLOWED | WRITTEN, .anyof = PRESENT | SWAPPED};
    mt_match_request r = request(&written, 1);
    r.protect = 1;
    run(&r, p, pages, seen, NULL);
    CHECK(memchr(seen, 0, pages) == NULL); /* all, the first time */
    for (int round = 0; round < 10; round++) {
        for (uint64_t n = random_next(&seed) % pages; n; n--) {
            size_t page = random_next(&seed) % pages;
            p[page * 4096] = 2, dirty[page] = 1;
        }
        r.protect = 0; /* a look changes nothing */
        run(&r, p, pages, seen, NULL);
        CHECK_EQ(memcmp(seen, dirty, pages), 0);
        r.protect = 1; /* a part of the range alone */
        size_t half = pages / 2;
        run(&r, p, half, seen, NULL);
        CHECK_EQ(memcmp(seen, dirty, half), 0);
        memset(dirty, 0, half);
        /* two scans of which the second matches what the first has just protected: told once, as written */
        mt_masks two[] = {{.mask = WPALLOWED | WRITTEN | PRESENT},
                          {.inverted = WRITTEN, .mask = WPALLOWED | WRITTEN | PRESENT}};
        mt_match_request all = request(two, 2);
        all.protect = 1;
        uint64_t *categories = calloc(pages, sizeof *categories);
        run(&all, p, pages, seen, categories);
        for (size_t i = 0; i < pages; i++) {
            CHECK_EQ(seen[i], 1);
            CHECK_EQ(!!(categories[i] & WRITTEN), dirty[i]);
        }
        free(categories);
        memset(dirty, 0, pages);
        CHECK_EQ(run(&r, p, pages, seen, NULL), 0);
    }
    free(dirty), free(seen);
    munmap(p, pages * 4096);
}

/* Windows that cut a huge page of hugetlb make no progress: widened, or left alone at the end of the range. */
static void test_hugetlb(int uffd) {
    size_t pages = 1024;
    char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, pages * 4096);
    CHECK_EQ(mt_uffd_register(uffd, (uintptr_t)p, pages * 4096), 0);
    uint8_t *seen = calloc(pages, 1);
    mt_masks written = {.mask = WPALLOWED | WRITTEN, .anyof = PRESENT | SWAPPED};
    mt_match_request r = request(&written, 1);
    r.protect = 1;
    CHECK_EQ(run(&r, p, 100, seen, NULL), 0);
    run(&r, p, pages, seen, NULL);
    CHECK(memchr(seen, 0, pages) == NULL);
    p[600 * 4096] = 2;
    run(&r, p, pages, seen, NULL);
    for (size_t i = 0; i < pages; i++)
        CHECK_EQ(seen[i], i >= 512);
    free(seen);
    munmap(p, pages * 4096);
}

/* One page of 1 GiB, larger than any window: the window is widened until it holds all of it. */
static void test_gigantic(int uffd) {
    size_t pages = GIB / 4096;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 30 << 26; /* MAP_HUGE_1GB */
    char *p = mmap(NULL, GIB, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(p != MAP_FAILED);
    *p = 1;
    CHECK_EQ(mt_uffd_register(uffd, (uintptr_t)p, GIB), 0);
    uint8_t *seen = calloc(pages, 1);
    mt_masks written = {.mask = WPALLOWED | WRITTEN, .anyof = PRESENT | SWAPPED};
    mt_match_request r = request(&written, 1);
    r.protect = 1;
    for (int round = 0; round < 3; round++) {
        run(&r, p, pages, seen, NULL);
        CHECK(memchr(seen, 0, pages) == NULL);
        CHECK_EQ(run(&r, p, pages, seen, NULL), 0);
        p[12345678] = 2;
    }
    free(seen);
    munmap(p, GIB);
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    matches = mt_matches_new();
    if (pagemap < 0)
        return puts("skip: pagemap"), 0;
    int has_scan = mt_scan_probe(pagemap, 0) == 0;
    if (!strcmp(argv[1], "entries")) {
        test_looking(0);
    } else if (!has_scan) {
        return puts("skip: PAGEMAP_SCAN"), 0;
    } else if (!strcmp(argv[1], "looking")) {
        test_looking(1);
        test_sparse();
    } else {
        int uffd = open_uffd();
        if (uffd < 0)
            return puts("skip: userfaultfd WP_ASYNC"), 0;
        if (!strcmp(argv[1], "protecting")) {
            test_protecting(uffd, 5000);
            test_protecting(uffd, 40000);
        } else if (!strcmp(argv[1], "gigantic")) {
            test_gigantic(uffd);
        } else {
            test_hugetlb(uffd);
        }
        close(uffd);
    }
    mt_matches_free(matches);
    close(pagemap);
    return 0;
}
