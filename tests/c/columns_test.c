/* Columns against plain loops. */
#include "check.h"

enum { MOST = 300, WORDS = 3 };

static void test_where(uint64_t *seed) {
    size_t count = random_next(seed) % MOST;
    uint64_t *records = calloc(count * WORDS + 1, sizeof *records); /* on the heap: ASan sees one too many */
    uint32_t *found = calloc(count + 1, sizeof *found);
    for (size_t i = 0; i < count * WORDS; i++)
        records[i] = random_next(seed) % 3;
    size_t there = mt_nonzero(records + 1, WORDS, count, found), at = 0;
    for (size_t i = 0; i < count; i++)
        if (records[i * WORDS + 1])
            CHECK_EQ(found[at++], i);
    CHECK_EQ(there, at);
    free(records);
    free(found);
}

static void test_order(uint64_t *seed) {
    size_t count = 0;
    uint64_t keys[MOST];
    uint32_t wide = random_next(seed) % 64, down = random_next(seed) % 2;
    for (size_t i = 0; i < MOST; i++) /* often equal, sometimes of all bits */
        keys[i] = random_next(seed) >> wide;
    uint32_t *order = calloc(MOST, sizeof *order), *spare = calloc(MOST, sizeof *spare);
    for (uint32_t i = 0; i < MOST; i++)
        if (random_next(seed) % 4)
            order[count++] = i;
    uint8_t given[MOST] = {0};
    for (size_t i = 0; i < count; i++)
        given[order[i]] = 1;
    mt_order(keys, 1, (int)down, order, spare, count);
    for (size_t i = 0; i < count; i++) {
        CHECK(given[order[i]]);
        if (!i)
            continue;
        uint64_t before = keys[order[i - 1]], here = keys[order[i]];
        CHECK(down ? before >= here : before <= here);
        CHECK(before != here || order[i - 1] < order[i]); /* equal ones as they were */
    }
    free(order);
    free(spare);
}

int main(void) {
    uint64_t seed = 7;
    for (int round = 0; round < 2000; round++) {
        test_where(&seed);
        test_order(&seed);
    }
    return 0;
}
