/* Written pages, page by page: get and clear. */
#include "scanning.h"

static void test_exact(int flags, size_t pages) {
    char *p = map(pages * 4096, flags);
    uint8_t *written = calloc(pages, 1);
    mt_mapping m = mapping(p, pages * 4096);
    for (size_t i = 0; i < pages; i += 2)
        p[i * 4096] = 1;
    arm(p, pages * 4096);
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK_EQ(count.resident, (pages + 1) / 2);
    CHECK_EQ(count.written, (pages + 1) / 2); /* the baseline */
    for (int round = 0; round < 20; round++) {
        memset(written, 0, pages);
        for (uint64_t n = random_next(&seed) % pages; n; n--) {
            size_t page = random_next(&seed) % pages;
            p[page * 4096 + random_next(&seed) % 4096] = 2;
            written[page] = 1;
        }
        count = run_one(&m, MT_MODE_ARMED);
        check_written(&m, &count, written);
    }
    memset(written, 0, pages);
    count = run_one(&m, MT_MODE_ARMED);
    check_written(&m, &count, written);
    free(written);
    munmap(p, pages * 4096);
}

/* More regions than the kernel's bounce buffer (512) and than one vec (4096) hold. */
static void test_many_regions(void) {
    size_t pages = 5 * 16384 + 7;
    char *p = map(pages * 4096, MAP_PRIVATE);
    uint8_t *written = calloc(pages, 1);
    mt_mapping m = mapping(p, pages * 4096);
    memset(p, 1, pages * 4096);
    arm(p, pages * 4096);
    run_one(&m, MT_MODE_ARMED);
    for (size_t i = 1; i < pages; i += 2)
        written[i] = 1, p[i * 4096] = 2;
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK_EQ(count.run_count, pages / 2);
    CHECK_EQ(count.resident, pages);
    check_written(&m, &count, written);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 0);
    CHECK_EQ(run_one(&m, MT_MODE_CENSUS).resident, pages);
    free(written);
    munmap(p, pages * 4096);
}

/* Zero pages and guard pages are neither armed nor counted as written, and not resident. */
static void test_zero_and_guard(void) {
    char *p = map(64 * 4096, MAP_PRIVATE);
    mt_mapping m = mapping(p, 64 * 4096);
    memset(p, 1, 8 * 4096);
    for (int i = 16; i < 20; i++)
        CHECK_EQ(((volatile char *)p)[i * 4096], 0); /* reading maps the zero page */
    int guards = guard && madvise(p + 32 * 4096, 3 * 4096, 102 /* MADV_GUARD_INSTALL */) == 0 ? 3 : 0;
    mt_count count = run_one(&m, MT_MODE_CENSUS);
    CHECK(count.resident == 8 && count.zero == 4 && count.guard == (uint64_t)guards && count.swapped == 0);
    CHECK_EQ(count.resident_map, 0xff);
    CHECK(count.flags & MT_COUNT_ZERO);
    arm(p, 64 * 4096);
    mt_scan_request r = request();
    r.count_zero = 1;
    run(&r, &m, MT_MODE_ARMED, 1, &count);
    CHECK(count.resident == 8 && count.written == 8 && count.zero == 4 && count.guard == (uint64_t)guards);
    CHECK(count.flags & MT_COUNT_ZERO);
    CHECK(!(run_one(&m, MT_MODE_ARMED).flags & MT_COUNT_ZERO));
    p[17 * 4096] = 1; /* a zero page becomes a page */
    count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.written == 1 && count.resident == 9 && mt_scan_runs(scan)[0].start == m.start + 17 * 4096);
    munmap(p, 64 * 4096);
}

static void test_discarded(void) {
    char *p = map(64 * 4096, MAP_PRIVATE);
    mt_mapping m = mapping(p, 64 * 4096);
    memset(p, 1, 64 * 4096);
    arm(p, 64 * 4096);
    run_one(&m, MT_MODE_ARMED);
    madvise(p, 32 * 4096, MADV_DONTNEED);
    p[5 * 4096] = 1;
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.resident == 33 && count.written == 1);
    munmap(p, 64 * 4096);
}

/* Neighbours, gaps, and a group that changes its mode: every run in its own mapping. */
static void test_groups(void) {
    char *p = map(300 * 4096, MAP_PRIVATE);
    memset(p, 1, 300 * 4096);
    arm(p, 300 * 4096);
    munmap(p + 200 * 4096, 50 * 4096);
    mt_mapping items[] = {mapping(p, 100 * 4096), mapping(p + 100 * 4096, 60 * 4096), mapping(p + 160 * 4096, 40 * 4096),
                          mapping(p + 250 * 4096, 50 * 4096), {.start = 0xffffffffff600000, .end = 0xffffffffff601000}};
    uint8_t modes[] = {MT_MODE_ARMED, MT_MODE_ARMED, MT_MODE_SKIP, MT_MODE_ARMED, MT_MODE_ARMED};
    mt_count counts[5];
    mt_scan_request r = request();
    CHECK_EQ(mt_scan_run(scan, &r, items, modes, 5, counts), 0);
    CHECK(counts[0].written == 100 && counts[1].written == 60 && counts[3].written == 50);
    CHECK(counts[2].flags == 0 && counts[2].resident == 0 && counts[4].flags == 0);
    CHECK_EQ(mt_scan_run_count(scan), 3);
    CHECK(mt_scan_runs(scan)[1].start == items[1].start && mt_scan_runs(scan)[1].pages == 60);
    munmap(p, 300 * 4096);
}

static void test_watch(void) {
    char *p = map(1000 * 4096, MAP_PRIVATE);
    memset(p, 1, 500 * 4096);
    arm(p, 1000 * 4096);
    mt_mapping items[] = {mapping(p, 300 * 4096), mapping(p + 300 * 4096, 700 * 4096)};
    uint32_t *resident = malloc(20 * sizeof *resident), *written = malloc(20 * sizeof *written);
    mt_scan_request r = request();
    mt_count counts[2];
    run(&r, items, MT_MODE_ARMED, 2, counts);
    p[299 * 4096] = p[300 * 4096] = p[310 * 4096] = p[450 * 4096] = 2;
    r.watch_start = items[0].start + 290 * 4096;
    r.watch_cell = 12;
    r.watch_cells = 20; /* pages 290 to 530 */
    r.watch_resident = resident;
    r.watch_written = written;
    run(&r, items, MT_MODE_ARMED, 2, counts);
    for (int i = 0; i < 20; i++) {
        int first = 290 + 12 * i;
        CHECK_EQ(resident[i], first + 12 <= 500 ? 12 : first < 500 ? 500 - first : 0);
        CHECK_EQ(written[i], i == 0 ? 2 : i == 1 || i == 13);
    }
    r.watch_resident = r.watch_written = NULL;
    run(&r, items, MT_MODE_ARMED, 2, counts);
    free(resident);
    free(written);
    munmap(p, 1000 * 4096);
}

/* What grew after the table was read is cleared by a scan that crosses the gap, and told by the next. */
static void test_late(void) {
    char *p = map(16 * 4096, MAP_PRIVATE);
    memset(p, 1, 16 * 4096);
    arm(p, 16 * 4096);
    mt_mapping before[] = {mapping(p, 4 * 4096), mapping(p + 8 * 4096, 8 * 4096)}, after = mapping(p, 16 * 4096);
    mt_mapping others[] = {mapping(p, 8 * 4096), mapping(p + 8 * 4096, 8 * 4096)};
    mt_scan_request r = request();
    mt_count counts[2];
    run(&r, before, MT_MODE_ARMED, 2, counts);
    CHECK(counts[0].written == 4 && counts[1].written == 8);
    p[0] = p[10 * 4096] = 2;
    run(&r, others, MT_MODE_ARMED, 2, counts);
    CHECK(counts[0].written == 5 && counts[1].written == 1); /* page 0 and the late 4 */
    CHECK(counts[0].resident == 8 && counts[1].resident == 8 && mt_scan_run_count(scan) == 3);
    CHECK_EQ(run_one(&after, MT_MODE_ARMED).written, 0);
    munmap(p, 16 * 4096);
}

static void test_strays(void) {
    char *p = map(30 * MIB, MAP_PRIVATE);
    mt_mapping items[3] = {mapping(p, 10 * MIB), mapping(p + 10 * MIB, 10 * MIB), mapping(p + 20 * MIB, 10 * MIB)};
    uint8_t modes[3] = {MT_MODE_ARMED, MT_MODE_ARMED_FILE, MT_MODE_ARMED};
    uint32_t found[3];
    arm(p, 30 * MIB);
    p[5 * MIB] = p[15 * MIB] = p[25 * MIB] = 1;
    CHECK_EQ(mt_scan_strays(scan, pagemap, items, modes, 3, found, 3), 0);
    disarm(p + 10 * MIB, 20 * MIB);
    CHECK_EQ(mt_scan_strays(scan, pagemap, items, modes, 3, found, 3), 2);
    CHECK(found[0] == 1 && found[1] == 2);
    CHECK_EQ(mt_scan_strays(scan, pagemap, items, modes, 3, found, 1), 1);
    modes[1] = MT_MODE_CENSUS;
    CHECK_EQ(mt_scan_strays(scan, pagemap, items, modes, 3, found, 3), 1);
    CHECK_EQ(found[0], 2);
    madvise(p, 30 * MIB, MADV_DONTNEED);
    CHECK_EQ(mt_scan_strays(scan, pagemap, items, modes, 3, found, 3), 0); /* nothing there that could be written */
    munmap(p, 30 * MIB);
}

/* Private pages of a file are tracked; the page cache is counted and left alone. */
static void test_file(void) {
    char path[] = "/tmp/scan_test.XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 64 * 4096) == 0);
    unlink(path);
    volatile char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    mt_mapping m = mapping((char *)p, 64 * 4096);
    p[0] = p[9 * 4096] = 1;
    (void)p[20 * 4096];
    arm((char *)p, 64 * 4096);
    mt_count count = run_one(&m, MT_MODE_ARMED_FILE);
    CHECK(count.written == 2 && count.resident >= 3);
    p[9 * 4096] = p[30 * 4096] = 2;
    count = run_one(&m, MT_MODE_ARMED_FILE);
    CHECK(count.written == 2 && count.run_count == 2);
    CHECK(mt_scan_runs(scan)[0].start == m.start + 9 * 4096 && mt_scan_runs(scan)[1].start == m.start + 30 * 4096);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED_FILE).written, 0);
    munmap((char *)p, 64 * 4096);
    close(fd);
}

int main(void) {
    if (!begin(1))
        return 0;
    test_exact(MAP_PRIVATE, 1000);
    test_exact(MAP_PRIVATE, 7);
    test_exact(MAP_PRIVATE, 40000);
    test_exact(MAP_SHARED, 1000); /* shmem */
    test_many_regions();
    test_zero_and_guard();
    test_discarded();
    test_groups();
    test_watch();
    test_late();
    test_strays();
    test_file();
    return finish();
}
