/* Blocks of the whole address space: they fit, they stand in order, and nothing is lost. */
#include <stdbool.h>

#include "check.h"

enum { MOST = 60 };

static size_t random_mappings(mt_mapping *items, mt_count *counts, uint64_t *seed) {
    size_t count = 1 + random_next(seed) % MOST;
    uint64_t at = random_next(seed) % 100 * 4096;
    for (size_t i = 0; i < count; i++) {
        uint64_t pages = 1 + random_next(seed) % (1ull << random_next(seed) % 24), gap = 0;
        if (random_next(seed) % 2)
            gap = random_next(seed) % (1ull << random_next(seed) % 28) * 4096;
        items[i] = (mt_mapping){.start = at, .end = at + pages * 4096, .kind = random_next(seed) % 11};
        counts[i] = (mt_count){.resident_map = random_next(seed) & random_next(seed) & random_next(seed)};
        if (random_next(seed) % 4)
            counts[i].flags = MT_COUNT_SCANNED;
        at = items[i].end + gap;
    }
    if (random_next(seed) % 3 == 0) { /* [vsyscall] */
        items[count - 1].start = 0xffffffffff600000;
        items[count - 1].end = 0xffffffffff601000;
    }
    return count;
}

static bool in_blocks(const mt_block *blocks, size_t count, uint64_t cell, uint64_t address) {
    for (size_t i = 0; i < count; i++)
        if (blocks[i].start <= address && address - blocks[i].start < cell)
            return true;
    return false;
}

static void check_blocks(const mt_block *blocks, size_t laid, uint64_t cell, size_t columns, size_t rows,
                         size_t there) {
    for (size_t i = 0; i < laid; i++) {
        const mt_block *b = &blocks[i];
        CHECK(b->start % cell == 0 && b->column < columns && b->row < rows);
        CHECK(b->main < there && b->first + b->count <= there && b->count > 0);
        if (i) {
            CHECK_EQ(b->gap, b->start - b[-1].start - cell);
            CHECK(b->row > b[-1].row || b->column > b[-1].column);
        }
    }
}

int main(void) {
    uint64_t seed = 7;
    for (int round = 0; round < 3000; round++) {
        mt_mapping items[MOST];
        mt_count counts[MOST];
        size_t count = random_mappings(items, counts, &seed);
        size_t columns = 16 + random_next(&seed) % 100, rows = 1 + random_next(&seed) % 12;
        mt_block *blocks = malloc(columns * rows * sizeof *blocks);
        uint64_t cell = 0;
        size_t laid = mt_space_lay(items, counts, count, columns, rows, &cell, blocks);
        size_t there = count - (items[count - 1].start >> 63);
        CHECK(laid <= columns * rows);
        CHECK(laid > 0 || there == 0);
        check_blocks(blocks, laid, cell, columns, rows, there);
        for (size_t i = 0; i < there; i++) {
            uint64_t bit = ((items[i].end - items[i].start) / 4096 + 63) / 64 * 4096;
            CHECK(in_blocks(blocks, laid, cell, items[i].start));
            for (uint64_t k = 0; k < 64 && items[i].start + k * bit < items[i].end; k++)
                if (counts[i].resident_map >> k & 1)
                    CHECK(in_blocks(blocks, laid, cell, items[i].start + k * bit));
        }
        double *times = calloc(laid + 1, sizeof *times), from[3] = {5, 0, 7};
        mt_run run = {items[0].start, 1, 0};
        mt_space_age(blocks, laid, cell, &run, 1, 9, times);
        mt_space_mark(blocks, laid, cell, items[0].start, 4096, from, 3, times);
        if (there)
            CHECK_EQ(times[0], 9);
        free(times);
        free(blocks);
    }
    return 0;
}
