/* Following huge pages against a plain array of them. */
#include "check.h"

enum { BLOCKS = 24, PAGES_IN = 512, RUNS = 64 };

int main(void) {
    static mt_run huge[BLOCKS], written[RUNS], now[BLOCKS + RUNS];
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t was[BLOCKS], expected[BLOCKS], is[BLOCKS] = {0}, hit[BLOCKS] = {0};
        size_t huge_count = 0, count = 0, now_count = 0;
        for (int b = 0; b < BLOCKS; b++) {
            was[b] = random_next(&seed) % 3 != 0;
            if (was[b] && (!b || !was[b - 1]))
                huge[huge_count++] = (mt_run){b * MT_HUGE, 0, MT_RUN_HUGE};
            if (was[b])
                huge[huge_count - 1].pages += PAGES_IN;
        }
        memcpy(expected, was, sizeof was);
        for (uint64_t page = random_next(&seed) % 900; count < RUNS;) {
            uint64_t block = page / PAGES_IN, pages = 1 + random_next(&seed) % 1200;
            if (block >= BLOCKS - 3)
                break;
            if (random_next(&seed) % 4 == 0) { /* whole huge pages */
                block++;
                pages = PAGES_IN;
                page = block * PAGES_IN;
                written[count++] = (mt_run){page * MT_PAGE, PAGES_IN, MT_RUN_HUGE};
                expected[block] = 1;
            } else {
                written[count++] = (mt_run){page * MT_PAGE, (uint32_t)pages, 0};
                for (uint64_t b = block; b <= (page + pages - 1) / PAGES_IN; b++) {
                    hit[b] |= was[b];
                    expected[b] = 0;
                }
            }
            page += pages + random_next(&seed) % 700;
            if (written[count - 1].flags) /* nothing small beside a huge page in the same 2 MiB */
                page = page > (block + 1) * PAGES_IN ? page : (block + 1) * PAGES_IN;
            else if (random_next(&seed) % 2)
                page = (page / PAGES_IN + 1) * PAGES_IN;
        }
        int64_t split = mt_huge_follow(huge, huge_count, written, count, now, &now_count), wanted = 0;
        for (int b = 0; b < BLOCKS; b++)
            wanted += hit[b];
        CHECK_EQ(split, wanted);
        CHECK(now_count <= huge_count + count);
        for (size_t i = 0; i < now_count; i++)
            for (uint64_t b = now[i].start / MT_HUGE; b < now[i].start / MT_HUGE + now[i].pages / PAGES_IN; b++)
                is[b] = 1;
        for (int b = 0; b < BLOCKS; b++)
            CHECK_EQ(is[b], expected[b]);
    }
    return 0;
}
