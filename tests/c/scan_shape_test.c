/* How the pages lie decides how they are looked for: dense, sparse, huge, gigantic. */
#include "scanning.h"

/* Stretches of all densities, holes, zero pages and gaps: whichever way a window is asked about, the counts are
 * those of the bookkeeping. */
typedef struct {
    char *p;
    size_t pages;
    uint8_t *state; /* of each page: 0 hole, 1 present, 2 zero page, 3 unmapped */
} patchwork;

static patchwork make_patchwork(size_t pages) {
    static const unsigned densities[] = {100, 100, 0, 1, 100, 40, 60, 99, 5, 100};
    patchwork w = {map(pages * 4096, MAP_PRIVATE), pages, calloc(pages, 1)};
    for (size_t i = 0; i < pages; i++) {
        unsigned density = densities[i / 5000 % 10];
        if (random_next(&seed) % 100 < density) {
            w.p[i * 4096] = 1;
            w.state[i] = 1;
        } else if (random_next(&seed) % 8 == 0) {
            (void)((volatile char *)w.p)[i * 4096];
            w.state[i] = 2;
        }
    }
    for (size_t i = 3 * 5000 + 77; i < 3 * 5000 + 1300; i++)
        w.state[i] = 3;
    munmap(w.p + (3 * 5000 + 77) * 4096, (1300 - 77) * 4096);
    return w;
}

static void check_present(const patchwork *w, const mt_mapping *m, const mt_count *count, const uint32_t *watched,
                          int zero) {
    uint64_t first = (m->start - (uintptr_t)w->p) / 4096, pages = (m->end - m->start) / 4096;
    uint64_t cell = (pages + 63) / 64, present = 0, zeros = 0, cells = 0;
    for (uint64_t i = 0; i < pages; i++) {
        uint8_t state = w->state[first + i];
        present += state == 1;
        zeros += state == 2;
        cells |= (uint64_t)(state == 1) << i / cell;
    }
    CHECK_EQ(count->resident, present);
    CHECK_EQ(count->resident_map, cells);
    CHECK_EQ(count->zero, zero ? zeros : 0);
    CHECK(count->huge == 0 && count->swapped == 0);
    for (uint64_t i = first / 50; i < (first + pages) / 50; i++) { /* whole cells of the mapping */
        uint32_t wanted = 0;
        for (uint64_t k = i * 50; k < (i + 1) * 50; k++)
            wanted += w->state[k] == 1;
        CHECK(i * 50 < first || watched[i] == wanted);
    }
}

static void test_patchwork(void) {
    patchwork w = make_patchwork(110000);
    mt_mapping items[] = {mapping(w.p, 7000 * 4096), mapping(w.p + 7000 * 4096, (3 * 5000 + 77 - 7000) * 4096),
                          mapping(w.p + (3 * 5000 + 1300) * 4096, 40000 * 4096),
                          mapping(w.p + (3 * 5000 + 41300) * 4096, (110000 - 56300) * 4096)};
    uint32_t *watched = calloc(110000 / 50, sizeof *watched);
    uint8_t *written = calloc(w.pages, 1);
    mt_scan_request r = request();
    mt_count counts[4];
    r.watch_start = (uintptr_t)w.p;
    r.watch_cell = 50;
    r.watch_cells = 110000 / 50;
    r.watch_resident = watched;
    run(&r, items, MT_MODE_CENSUS, 4, counts);
    for (int i = 0; i < 4; i++)
        check_present(&w, &items[i], &counts[i], watched, 1);
    for (int i = 0; i < 4; i++)
        arm((void *)items[i].start, items[i].end - items[i].start);
    for (int round = 0; round < 6; round++) {
        r.count_zero = round & 1;
        run(&r, items, MT_MODE_ARMED, 4, counts);
        for (int i = 0; i < 4; i++) {
            check_present(&w, &items[i], &counts[i], watched, r.count_zero);
            if (round)
                check_written(&items[i], &counts[i], written + (items[i].start - (uintptr_t)w.p) / 4096);
        }
        memset(written, 0, w.pages);
        for (int n = 0; n < 5000; n++) {
            uint64_t page = random_next(&seed) % w.pages;
            if (w.state[page] == 3)
                continue;
            if (n % 10 == 0) { /* given back; not written */
                madvise(w.p + page * 4096, 4096, MADV_DONTNEED);
                w.state[page] = written[page] = 0;
            } else {
                w.p[page * 4096] = (char)n;
                w.state[page] = written[page] = 1;
            }
        }
    }
    run(&r, items, MT_MODE_CENSUS, 4, counts);
    for (int i = 0; i < 4; i++)
        check_present(&w, &items[i], &counts[i], watched, 1);
    munmap(w.p, w.pages * 4096);
    free(w.state);
    free(watched);
    free(written);
}

/* Half of a dense stretch given back, page by page: more holes in a window than one vec holds. */
static void test_holes(void) {
    size_t pages = 5 * 16384;
    char *p = map(pages * 4096, MAP_PRIVATE);
    mt_mapping m = mapping(p, pages * 4096);
    uint8_t *written = calloc(pages, 1);
    memset(p, 1, pages * 4096);
    for (size_t i = 16384; i < pages; i += 2)
        madvise(p + i * 4096, 4096, MADV_DONTNEED);
    CHECK_EQ(run_one(&m, MT_MODE_CENSUS).resident, 16384 + 2 * 16384);
    arm(p, pages * 4096);
    run_one(&m, MT_MODE_ARMED);
    for (size_t i = 3; i < pages; i += 16)
        written[i] = 1, p[i * 4096] = 2;
    mt_count count = run_one(&m, MT_MODE_ARMED);
    CHECK_EQ(count.resident, 16384 + 2 * 16384);
    check_written(&m, &count, written);
    munmap(p, pages * 4096);
    free(written);
}

/* As test_late of scan_test.c, in a window that is got and cleared first and counted second: one window, so the
 * gap must hold no multiple of 64 MiB. */
static void test_late_in_dense_memory(void) {
    char *whole = map(96 * MIB, MAP_PRIVATE), *p = whole + (-(uintptr_t)whole & (64 * MIB - 1));
    memset(p, 1, 32 * MIB);
    arm(p, 32 * MIB);
    mt_mapping before[] = {mapping(p, 10 * MIB), mapping(p + 20 * MIB, 12 * MIB)}, after = mapping(p, 32 * MIB);
    mt_scan_request r = request();
    mt_count counts[2];
    for (int i = 0; i < 2; i++)
        run(&r, before, MT_MODE_ARMED, 2, counts);
    p[15 * MIB] = p[25 * MIB] = 2;
    run(&r, before, MT_MODE_ARMED, 2, counts);
    CHECK(counts[0].written == 0 && counts[1].written == 1);
    CHECK(counts[0].resident == 10 * 256 && counts[1].resident == 12 * 256);
    mt_count count = run_one(&after, MT_MODE_ARMED);
    CHECK(count.written == 1 && mt_scan_runs(scan)[0].start == after.start + 15 * MIB);
    CHECK_EQ(count.resident, 32 * 256);
    munmap(whole, 96 * MIB);
}

/* Of device memory the kernel says nothing, as of what is not mapped: it must not pass for present because what
 * lies before it is. */
static void test_untold(void) {
    size_t pages = 16384;
    char *p = map(3 * pages * 4096, MAP_PRIVATE);
    memset(p, 1, 3 * pages * 4096);
    munmap(p + pages * 4096, pages * 4096);
    mt_mapping items[] = {mapping(p, pages * 4096), mapping(p + pages * 4096, pages * 4096),
                          mapping(p + 2 * pages * 4096, pages * 4096)};
    mt_scan_request r = request();
    mt_count counts[3];
    for (int kind = MT_KIND_TEXT; kind <= MT_KIND_FILE; kind++) {
        items[1].kind = (uint8_t)kind;
        run(&r, items, MT_MODE_CENSUS, 3, counts);
        CHECK(counts[0].resident == pages && counts[1].resident == 0 && counts[2].resident == pages);
        CHECK_EQ(counts[1].resident_map, 0);
    }
    munmap(p, pages * 4096);
    munmap(p + 2 * pages * 4096, pages * 4096);
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

/* Far between, they are found one by one, and stay whole. */
static void test_sparse_huge_pages(void) {
    char *p = map(64 * GIB, MAP_PRIVATE);
    mt_mapping m = mapping(p, 64 * GIB);
    madvise(p, 64 * GIB, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < 6; i++)
        p[i * 10 * GIB + 5 * MIB] = 1;
    if (run_one(&m, MT_MODE_CENSUS).huge == 6 * 512) {
        arm(p, 64 * GIB);
        CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 6 * 512);
        for (int round = 0; round < 3; round++) {
            mt_count count = run_one(&m, MT_MODE_ARMED);
            CHECK(count.huge == 6 * 512 && count.written == 0);
        }
        p[20 * GIB + 5 * MIB + 4096 * 7] = 2;
        mt_count count = run_one(&m, MT_MODE_ARMED);
        CHECK(count.huge == 5 * 512 && count.written == 1 && count.resident == 6 * 512);
        CHECK_EQ(mt_scan_runs(scan)[0].start, m.start + 20 * GIB + 5 * MIB + 4096 * 7);
    }
    munmap(p, 64 * GIB);
}

/* More of them than a window of small pages holds, with small ones before and behind. */
static void test_many_huge_pages(void) {
    char *p = map(400 * MIB, MAP_PRIVATE);
    mt_mapping m = mapping(p, 400 * MIB);
    memset(p, 1, 20 * MIB);
    madvise(p + 20 * MIB, 360 * MIB, MADV_HUGEPAGE);
    for (uint64_t at = 20 * MIB; at < 400 * MIB; at += 4096)
        p[at] = 1;
    mt_count count = run_one(&m, MT_MODE_CENSUS);
    CHECK(count.resident == 400 * 256 && count.resident_map == ~0ull);
    if (count.huge == 360 * 256) {
        arm(p, 400 * MIB);
        CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 400 * 256);
        p[100 * MIB] = p[390 * MIB] = p[0] = 2;
        count = run_one(&m, MT_MODE_ARMED);
        CHECK(count.written == 3 && count.run_count == 3 && count.resident == 400 * 256);
        CHECK_EQ(count.huge, 359 * 256 + 256 - 512);
        CHECK_EQ(run_one(&m, MT_MODE_ARMED).written, 0);
    }
    munmap(p, 400 * MIB);
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

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    if (!begin(1))
        return 0;
    if (!strcmp(part, "thp")) {
        test_huge_pages();
        test_sparse_huge_pages();
        test_many_huge_pages();
    } else if (!strcmp(part, "hugetlb")) {
        test_hugetlb();
    } else if (!strcmp(part, "gigantic")) {
        test_gigantic(MT_KIND_HUGETLB);
        test_gigantic(MT_KIND_SHARED);
    } else {
        test_patchwork();
        test_holes();
        test_late_in_dense_memory();
        test_untold();
        test_sparse(TIB / 4, 300);
        test_sparse(GIB, 2000);
        test_sparse(200 * GIB, 2);
    }
    return finish();
}
