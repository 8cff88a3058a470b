/* Sets of runs against plain arrays of pages. */
#include "check.h"

enum { PAGES = 200 };

/* 0: not in the set; else flags + 1. */
static size_t random_runs(mt_run *runs, uint8_t *pages, uint64_t *seed) {
    size_t count = 0;
    memset(pages, 0, PAGES);
    for (uint64_t at = random_next(seed) % 10;;) {
        uint64_t length = 1 + random_next(seed) % 9;
        if (at + length > PAGES)
            return count;
        uint32_t flags = random_next(seed) % 2;
        runs[count++] = (mt_run){at * 4096, (uint32_t)length, flags};
        memset(pages + at, (int)flags + 1, length);
        at += length + random_next(seed) % 6;
    }
}

static void test_cut(void) {
    static mt_run a[PAGES], b[PAGES], out[2 * PAGES];
    static uint8_t in_a[PAGES], in_b[PAGES], in_out[PAGES];
    uint64_t seed = 43;
    for (int round = 0; round < 20000; round++) {
        size_t a_count = random_runs(a, in_a, &seed), b_count = random_runs(b, in_b, &seed);
        for (int inside = 0; inside < 2; inside++) {
            size_t count = inside ? mt_runs_intersect(a, a_count, b, b_count, out)
                                  : mt_runs_subtract(a, a_count, b, b_count, out);
            CHECK(count <= a_count + b_count);
            memset(in_out, 0, sizeof in_out);
            uint64_t end = 0;
            for (size_t i = 0; i < count; i++) {
                CHECK(out[i].start >= end && out[i].pages > 0);
                end = out[i].start + out[i].pages * 4096ull;
                memset(in_out + out[i].start / 4096, (int)out[i].flags + 1, out[i].pages);
            }
            for (size_t i = 0; i < PAGES; i++)
                CHECK_EQ(in_out[i], (in_b[i] != 0) == inside ? in_a[i] : 0);
        }
    }
}

static void test_union(void) {
    static mt_run a[PAGES], b[PAGES], out[2 * PAGES];
    static uint8_t in_a[PAGES], in_b[PAGES], in_out[PAGES];
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        size_t a_count = random_runs(a, in_a, &seed), b_count = random_runs(b, in_b, &seed);
        size_t count = mt_runs_union(a, a_count, b, b_count, out);
        CHECK(count <= a_count + b_count);
        memset(in_out, 0, sizeof in_out);
        uint64_t end = 0, pages = 0;
        for (size_t i = 0; i < count; i++) {
            CHECK(out[i].start >= end && out[i].pages > 0);
            if (i && out[i].start == end)
                CHECK(out[i].flags != out[i - 1].flags); /* else they would be one run */
            end = out[i].start + out[i].pages * 4096ull;
            memset(in_out + out[i].start / 4096, (int)out[i].flags + 1, out[i].pages);
        }
        for (size_t i = 0; i < PAGES; i++) {
            CHECK_EQ(in_out[i] != 0, in_a[i] || in_b[i]);
            if (in_a[i] == 2 || in_b[i] == 2)
                CHECK_EQ(in_out[i], 2); /* a huge page stays marked */
            pages += in_out[i] != 0;
        }
        CHECK_EQ(mt_runs_pages(out, count), pages);
    }
}

static void test_union_of_nothing(void) {
    mt_run one = {4096, 3, 0}, out[2];
    CHECK_EQ(mt_runs_union(NULL, 0, NULL, 0, out), 0);
    CHECK_EQ(mt_runs_union(&one, 1, NULL, 0, out), 1);
    CHECK_EQ(mt_runs_union(NULL, 0, &one, 1, out), 1);
    CHECK(out[0].start == 4096 && out[0].pages == 3);
    mt_run big[2] = {{0, UINT32_MAX, 0}, {UINT32_MAX * 4096ull, 7, 0}}; /* too long for one run */
    CHECK_EQ(mt_runs_union(&big[0], 1, &big[1], 1, out), 2);
    CHECK_EQ(mt_runs_pages(out, 2), UINT32_MAX + 7ull);
}

static void test_count_per_mapping(void) {
    static mt_run runs[PAGES];
    static uint8_t in[PAGES];
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        size_t count = random_runs(runs, in, &seed);
        mt_mapping items[20];
        size_t item_count = 0;
        for (uint64_t at = random_next(&seed) % 30; item_count < 20;) {
            uint64_t end = at + 1 + random_next(&seed) % 20;
            if (end > PAGES)
                break;
            items[item_count++] = (mt_mapping){.start = at * 4096, .end = end * 4096};
            at = end + random_next(&seed) % 3; /* neighbours often touch, and runs then cross them */
        }
        static mt_run others[PAGES];
        static uint8_t in_others[PAGES];
        const mt_run *sets[] = {runs, others, runs};
        size_t counts[] = {count, random_runs(others, in_others, &seed), 0};
        uint64_t apart[60] = {0}, *together = calloc(item_count + 1, sizeof *together); /* ASan sees one too many */
        mt_runs_count(sets, counts, 3, items, item_count, apart, 20);
        mt_runs_count(sets, counts, 3, items, item_count, together, 0);
        for (size_t i = 0; i < item_count; i++) {
            uint64_t there = 0, there_too = 0;
            for (uint64_t page = items[i].start / 4096; page < items[i].end / 4096; page++) {
                there += in[page] != 0;
                there_too += in_others[page] != 0;
            }
            CHECK_EQ(apart[i], there);
            CHECK_EQ(apart[20 + i], there_too);
            CHECK_EQ(apart[40 + i], 0);
            CHECK_EQ(together[i], there + there_too);
        }
        free(together);
    }
}

static void test_cells(void) {
    static mt_run runs[PAGES];
    static uint8_t in[PAGES];
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        size_t count = random_runs(runs, in, &seed);
        uint64_t first = random_next(&seed) % PAGES, cell = 1 + random_next(&seed) % 20;
        enum { CELLS = 9 };
        double *times = calloc(CELLS, sizeof *times); /* on the heap: ASan sees one cell too many */
        mt_ages map = {0, UINT64_MAX, first * 4096, cell, times, CELLS};
        mt_runs_age(runs, count, &map, 1, 5.5);
        for (uint64_t k = 0; k < CELLS; k++) {
            uint32_t pages = 0;
            for (uint64_t p = first + k * cell; p < first + (k + 1) * cell && p < PAGES; p++)
                pages += in[p] != 0;
            CHECK((times[k] == 5.5) == (pages != 0));
        }
        free(times);
    }
    mt_runs_age(runs, 3, NULL, 0, 1.0);
}

/* Many maps, the cells of which reach over their ends: each time belongs to pages of its own map. */
static void test_ages(void) {
    static mt_run runs[PAGES];
    static uint8_t in[PAGES];
    uint64_t seed = 9;
    for (int round = 0; round < 20000; round++) {
        size_t count = random_runs(runs, in, &seed), map_count = 0;
        mt_ages maps[8];
        for (uint64_t page = random_next(&seed) % 5; map_count < 8; map_count++) {
            uint64_t pages = 1 + random_next(&seed) % 12, cell = 1 + random_next(&seed) % 5;
            uint64_t first = page / cell * cell, cells = (page + pages - first + cell - 1) / cell;
            maps[map_count] = (mt_ages){page * 4096, (page + pages) * 4096, first * 4096, cell,
                                        calloc(cells, sizeof(double)), cells}; /* on the heap, for ASan */
            page += pages + random_next(&seed) % 3;
        }
        mt_runs_age(runs, count, maps, map_count, 5.5);
        for (size_t m = 0; m < map_count; m++) {
            for (uint64_t k = 0; k < maps[m].cells; k++) {
                uint64_t first = maps[m].first / 4096 + k * maps[m].cell_pages, written = 0;
                for (uint64_t p = first; p < first + maps[m].cell_pages; p++)
                    written += p >= maps[m].start / 4096 && p < maps[m].end / 4096 && p < PAGES && in[p];
                CHECK((maps[m].times[k] == 5.5) == (written != 0));
            }
            free(maps[m].times);
        }
    }
}

static void test_sum(void) {
    mt_count counts[2] = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, MT_COUNT_SCANNED, 0}, {.written = 5, .flags = MT_COUNT_ZERO}};
    mt_count sum;
    mt_count_sum(counts, 2, &sum);
    CHECK(sum.resident == 1 && sum.huge == 2 && sum.zero == 3 && sum.swapped == 4 && sum.guard == 5);
    CHECK(sum.written == 11 && sum.resident_map == 0 && sum.flags == (MT_COUNT_SCANNED | MT_COUNT_ZERO));
}

int main(void) {
    test_union();
    test_cut();
    test_union_of_nothing();
    test_count_per_mapping();
    test_cells();
    test_ages();
    test_sum();
    return 0;
}
