/* Which mapping keeps its identity: named cases, then rules that must hold for any two tables. */
#include "check.h"

static const char names[] = "[heap][anon:a]";

static mt_mapping anon(uint64_t start, uint64_t end) {
    return (mt_mapping){.start = start * 4096, .end = end * 4096, .perms = 3};
}

static mt_mapping file(uint64_t start, uint64_t end, uint64_t inode, uint64_t offset) {
    return (mt_mapping){.start = start * 4096, .end = end * 4096, .inode = inode, .offset = offset * 4096, .perms = 1};
}

static mt_mapping named(mt_mapping m, uint32_t at, uint32_t length) {
    m.name_at = at;
    m.name_len = length;
    return m;
}

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
/* ids of before are 1, 2, ...; new ones start at 100. */
#define IDENTIFY(before, now, ids) \
    ({ \
        uint64_t old_[16], next_ = 100; \
        for (size_t i_ = 0; i_ < 16; i_++) \
            old_[i_] = i_ + 1; \
        mt_identify(before, names, old_, COUNT_OF(before), now, names, ids, COUNT_OF(now), &next_); \
    })

static void test_cases(void) {
    uint64_t ids[16];
    { /* grown, untouched, gone, new */
        mt_mapping before[] = {anon(1, 5), anon(10, 12), anon(20, 30)};
        mt_mapping now[] = {anon(1, 9), anon(10, 12), anon(40, 41)};
        CHECK_EQ(IDENTIFY(before, now, ids), 1);
        CHECK(ids[0] == 1 && ids[1] == 2 && ids[2] == 100);
    }
    { /* split: the larger part keeps the id */
        mt_mapping before[] = {anon(0, 100)};
        mt_mapping now[] = {anon(0, 30), anon(30, 90), anon(90, 100)};
        CHECK_EQ(IDENTIFY(before, now, ids), 2);
        CHECK(ids[0] == 100 && ids[1] == 1 && ids[2] == 101);
    }
    { /* merge: the larger old one lives on */
        mt_mapping before[] = {anon(0, 10), anon(10, 90), anon(90, 100)};
        mt_mapping now[] = {anon(0, 100)};
        CHECK_EQ(IDENTIFY(before, now, ids), 0);
        CHECK(ids[0] == 2);
    }
    { /* another backing at the same place is another mapping */
        mt_mapping before[] = {anon(0, 10), file(20, 30, 7, 0), named(anon(40, 50), 6, 8)};
        mt_mapping now[] = {file(0, 10, 9, 0), file(20, 30, 8, 0), named(anon(40, 50), 0, 6)};
        CHECK_EQ(IDENTIFY(before, now, ids), 3);
    }
    { /* an unlinked file changes its name, not itself */
        mt_mapping before[] = {named(file(0, 10, 7, 0), 0, 6)};
        mt_mapping now[] = {named(file(0, 10, 7, 0), 6, 8)};
        CHECK_EQ(IDENTIFY(before, now, ids), 0);
    }
    { /* moved: same size and backing; a file also the same offset */
        mt_mapping before[] = {anon(0, 10), file(20, 30, 7, 0), file(30, 40, 7, 50)};
        mt_mapping now[] = {file(60, 70, 7, 50), file(80, 90, 7, 0), anon(100, 110), anon(120, 131)};
        CHECK_EQ(IDENTIFY(before, now, ids), 1);
        CHECK(ids[0] == 3 && ids[1] == 2 && ids[2] == 1 && ids[3] == 100);
    }
    { /* first reading */
        mt_mapping now[] = {anon(0, 10), anon(10, 20)};
        uint64_t next = 1;
        CHECK_EQ(mt_identify(NULL, NULL, NULL, 0, now, names, ids, 2, &next), 2);
        CHECK(ids[0] == 1 && ids[1] == 2 && next == 3);
        CHECK_EQ(mt_identify(now, names, ids, 2, NULL, NULL, NULL, 0, &next), 0);
    }
}

static size_t random_table(mt_mapping *table, uint64_t *seed) {
    size_t count = 0;
    for (uint64_t at = random_next(seed) % 4; count < 40; count++) {
        uint64_t length = 1 + random_next(seed) % 8;
        table[count] = random_next(seed) % 3 ? anon(at, at + length) : file(at, at + length, 1 + random_next(seed) % 2, 0);
        at += length + random_next(seed) % 3;
    }
    return count;
}

/* No id twice; old ids only for the same backing; an unchanged mapping keeps its id; numbers are used in order. */
static void test_rules(void) {
    static mt_mapping before[40], now[40];
    uint64_t seed = 1234567, ids[40], now_ids[40];
    for (int round = 0; round < 20000; round++) {
        size_t olds = random_table(before, &seed), news = random_table(now, &seed);
        for (size_t i = 0; i < olds; i++)
            ids[i] = i + 1;
        uint64_t next = 1000;
        int64_t made = mt_identify(before, names, ids, olds, now, names, now_ids, news, &next);
        CHECK_EQ(next, 1000 + (uint64_t)made);
        for (size_t j = 0; j < news; j++) {
            for (size_t k = 0; k < j; k++)
                CHECK(now_ids[k] != now_ids[j]);
            if (now_ids[j] < 1000)
                CHECK_EQ(before[now_ids[j] - 1].inode, now[j].inode);
            for (size_t i = 0; i < olds; i++)
                if (before[i].start == now[j].start && before[i].end == now[j].end && before[i].inode == now[j].inode)
                    CHECK_EQ(now_ids[j], ids[i]);
        }
    }
}

int main(void) {
    test_cases();
    test_rules();
    return 0;
}
