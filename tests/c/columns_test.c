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

int main(void) {
    uint64_t seed = 7;
    for (int round = 0; round < 2000; round++)
        test_where(&seed);
    return 0;
}
