/* Scans of this very process: what was written is known here page by page. */
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

static char *map(size_t bytes, int flags) {
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

static void arm(const void *p, size_t bytes) {
    struct uffdio_register r = {.range = {(uintptr_t)p, bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
    CHECK_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
}

static void disarm(const void *p, size_t bytes) {
    struct uffdio_range r = {(uintptr_t)p, bytes};
    CHECK_EQ(ioctl(uffd, UFFDIO_UNREGISTER, &r), 0);
}

static mt_mapping mapping(const void *p, size_t bytes) {
    return (mt_mapping){.start = (uintptr_t)p, .end = (uintptr_t)p + bytes, .perms = 3};
}

static mt_scan_request request(void) {
    return (mt_scan_request){.pagemap_fd = pagemap, .use_ioctl = 1, .guard_bit = (uint32_t)guard, .sparse_limit = 1 << 22};
}

static void run(const mt_scan_request *r, const mt_mapping *items, uint8_t mode, size_t count, mt_count *counts) {
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

static mt_count run_one(const mt_mapping *m, uint8_t mode) {
    mt_scan_request r = request();
    mt_count count;
    run(&r, m, mode, 1, &count);
    return count;
}

/* The runs name exactly the pages that are marked, and the 64 cells show them. */
static void check_written(const mt_mapping *m, const mt_count *count, const uint8_t *written) {
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

static long page_tables(void) {
    char line[200];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (kilobytes < 0 && fgets(line, sizeof line, file))
        sscanf(line, "VmPTE: %ld", &kilobytes);
    fclose(file);
    return kilobytes;
}

static void test_sparse(uint64_t bytes, size_t count) {
    char *p = map(bytes, MAP_PRIVATE);
    mt_mapping m = mapping(p, bytes);
    uint64_t *touched = calloc(count, sizeof *touched);
    for (size_t i = 0; i < count; i++) {
        touched[i] = random_next(&seed) % (bytes / 4096) * 4096;
        p[touched[i]] = 1;
    }
    uint64_t different = 0;
    for (size_t i = 0, k; i < count; i++) {
        for (k = 0; k < i && touched[k] != touched[i]; k++)
            ;
        different += k == i;
    }
    arm(p, bytes);
    long before = page_tables();
    CHECK_EQ(run_one(&m, MT_MODE_CENSUS).resident, different);
    mt_count counted = run_one(&m, MT_MODE_ARMED);
    CHECK_EQ(counted.written, different);
    CHECK_EQ(counted.resident, different);
    for (size_t i = 0; i < count; i += 3)
        p[touched[i]] = 2;
    counted = run_one(&m, MT_MODE_ARMED);
    CHECK_EQ(counted.resident, different);
    for (size_t i = 0; i < count; i += 3) {
        uint32_t k = 0;
        for (; k < counted.run_count; k++) {
            const mt_run *run = &mt_scan_runs(scan)[k];
            if (run->start <= m.start + touched[i] && m.start + touched[i] < run->start + run->pages * 4096ull)
                break;
        }
        CHECK(k < counted.run_count);
    }
    CHECK(counted.written <= (count + 2) / 3);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 0);
    CHECK(page_tables() - before < 100); /* of this test itself; armed holes would take 2 MiB a GiB */
    free(touched);
    munmap(p, bytes);
}

static void test_huge_pages(void) {
    char *p = map(16 * MIB, MAP_PRIVATE);
    mt_mapping m = mapping(p, 16 * MIB);
    madvise(p, 16 * MIB, MADV_HUGEPAGE);
    memset(p, 1, 8 * MIB);
    uint64_t huge = run_one(&m, MT_MODE_CENSUS).huge;
    if (huge != 2048) {
        printf("skip: transparent huge pages\n");
        munmap(p, 16 * MIB);
        return;
    }
    arm(p, 16 * MIB);
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.huge == 2048 && count.written == 2048 && count.flags & MT_COUNT_WRITTEN_HUGE);
    CHECK(count.run_count == 1 && mt_scan_runs(scan)[0].flags == MT_RUN_HUGE);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).huge, 2048); /* looking splits nothing */
    p[3 * MIB] = 2;
    count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.written == 1 && count.huge == 2048 - 512 && count.resident == 2048);
    CHECK(!(count.flags & MT_COUNT_WRITTEN_HUGE));
    munmap(p, 16 * MIB);
}

static void test_hugetlb(void) {
    char *p = map(4 * MIB, MAP_PRIVATE | MAP_HUGETLB);
    if (!p) {
        printf("skip: reserved hugetlb pages\n");
        return;
    }
    mt_mapping m = mapping(p, 4 * MIB);
    m.kind = MT_KIND_HUGETLB;
    p[0] = 1;
    CHECK_EQ(run_one(&m, MT_MODE_CENSUS).resident, 512);
    arm(p, 4 * MIB);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 512);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 0);
    p[2 * MIB] = 1;
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.written == 512 && count.resident == 1024 && mt_scan_runs(scan)[0].start == m.start + 2 * MIB);
    mt_mapping half = mapping(p, MIB); /* a window that no huge page fits into ends all the same */
    run_one(&half, MT_MODE_ARMED);
    munmap(p, 4 * MIB);
}

/* A window has to hold a whole page: known from the kind, or found out. */
static void test_gigantic(uint8_t kind) {
    char *p = map(GIB, MAP_PRIVATE | MAP_HUGETLB | 30 << 26 /* MAP_HUGE_1GB */);
    if (!p) {
        printf("skip: reserved hugetlb pages of 1 GiB\n");
        return;
    }
    mt_mapping m = mapping(p, GIB);
    m.kind = kind;
    arm(p, GIB);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).resident, 0);
    p[77] = 1;
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK(count.resident == GIB / 4096 && count.written == GIB / 4096 && count.run_count == 1);
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 0);
    p[GIB / 2] = 1;
    CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, GIB / 4096);
    munmap(p, GIB);
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

/* Entries and the ioctl tell the same where both can. */
static void test_fallback(void) {
    size_t pages = 20000;
    char *p = map(pages * 4096, MAP_PRIVATE);
    mt_mapping items[] = {mapping(p, 6000 * 4096), mapping(p + 6000 * 4096, 14000 * 4096)};
    for (int i = 0; i < 9000; i++)
        p[random_next(&seed) % pages * 4096] = 1;
    mt_scan_request r = request();
    mt_count scanned[2], read[2];
    run(&r, items, MT_MODE_CENSUS, 2, scanned);
    r.use_ioctl = 0;
    run(&r, items, MT_MODE_CENSUS, 2, read);
    for (int i = 0; i < 2; i++) {
        CHECK(read[i].resident == scanned[i].resident && read[i].resident_map == scanned[i].resident_map);
        CHECK(read[i].swapped == 0 && read[i].huge == 0 && !(read[i].flags & MT_COUNT_ZERO));
    }
    uint8_t modes[] = {MT_MODE_CENSUS, MT_MODE_CENSUS};
    r.sparse_limit = 10000;
    CHECK_EQ(mt_scan_run(scan, &r, items, modes, 2, read), 0);
    CHECK_EQ(read[0].flags, MT_COUNT_SCANNED);
    CHECK_EQ(read[1].flags, MT_COUNT_TOO_SPARSE);
    modes[0] = MT_MODE_ARMED;
    CHECK_EQ(mt_scan_run(scan, &r, items, modes, 2, read), -EOPNOTSUPP);
    munmap(p, pages * 4096);
}

static void test_ended(void) {
    char *p = map(4096, MAP_PRIVATE), path[64], byte;
    *p = 1;
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        CHECK_EQ(write(ready[1], "x", 1), 1);
        pause();
        _exit(0);
    }
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    snprintf(path, sizeof path, "/proc/%d/pagemap", child);
    mt_scan_request r = request();
    r.pagemap_fd = open(path, O_RDONLY);
    mt_mapping m = mapping(p, 4096);
    uint8_t mode = MT_MODE_CENSUS;
    mt_count count;
    CHECK_EQ(mt_scan_run(scan, &r, &m, &mode, 1, &count), 0);
    CHECK_EQ(count.resident, 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_EQ(mt_scan_run(scan, &r, &m, &mode, 1, &count), -ESRCH);
    r.use_ioctl = 0;
    CHECK_EQ(mt_scan_run(scan, &r, &m, &mode, 1, &count), -ESRCH);
    close(r.pagemap_fd);
    munmap(p, 4096);
}

static void test_base_pages(void) {
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
    test_sparse(TIB / 4, 300);
    test_sparse(GIB, 2000);
    test_sparse(200 * GIB, 2);
    test_strays();
    test_file();
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    scan = mt_scan_new();
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    if (pagemap < 0 || mt_scan_probe(pagemap, 8) != 0) {
        printf("skip: PAGEMAP_SCAN\n");
        return 0;
    }
    guard = mt_scan_probe(pagemap, GUARD) == 0 ? GUARD : 0;
    CHECK(mt_scan_probe(pagemap, 1ull << 40) == -EINVAL);
    if (!strcmp(part, "looking")) {
        test_fallback();
        test_ended();
    } else {
        uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
        struct uffdio_api api = {.api = UFFD_API, .features = 1 << 15 | 1 << 13 /* WP_ASYNC, WP_UNPOPULATED */};
        if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
            printf("skip: userfaultfd with WP_ASYNC\n");
            return 0;
        }
        if (!strcmp(part, "thp"))
            test_huge_pages();
        else if (!strcmp(part, "hugetlb"))
            test_hugetlb();
        else if (!strcmp(part, "gigantic"))
            test_gigantic(MT_KIND_HUGETLB), test_gigantic(MT_KIND_SHARED);
        else
            test_base_pages();
    }
    mt_scan_free(scan);
    mt_scan_free(NULL);
    return 0;
}
