/* What a dump knows of its pages: extents, kinds, the index; each against a table with an entry for every page. */
#include "check.h"

enum { SPACE = 4000, DATA = 1, ZERO = 2, HOLE = 3, LEFT_OUT = 8, SWAPPED = 6 };

static size_t random_runs(uint64_t *seed, mt_run *out, uint8_t *pages) {
    size_t made = 0;
    memset(pages, 0, SPACE);
    for (uint64_t at = random_next(seed) % 9; at + 40 < SPACE; at += 1 + random_next(seed) % 90) {
        uint32_t length = 1 + (uint32_t)(random_next(seed) % 39);
        out[made++] = (mt_run){at * MT_PAGE, length, 1};
        memset(pages + at, 1, length);
        at += length;
    }
    return made;
}

static void check_pieces(const mt_piece *pieces, size_t count, const uint8_t *wanted, uint64_t *places, uint64_t room) {
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < pieces[i].pages; k++, pages++) {
            uint64_t page = pieces[i].address / MT_PAGE + k, offset = pieces[i].offset + k * MT_PAGE;
            CHECK(wanted[page] && offset < room);
            CHECK(places[page] == 0 || places[page] == offset); /* it keeps its place */
            places[page] = offset;
        }
    for (size_t i = 0; i < SPACE; i++)
        pages -= wanted[i];
    CHECK_EQ(pages, 0);
}

static void test_extents(uint64_t granule, uint64_t gap) {
    static mt_run runs[SPACE], wide[SPACE];
    static mt_piece have[SPACE], next[3 * SPACE], pieces[SPACE];
    static uint8_t pages[SPACE];
    static uint64_t places[SPACE], hashes[SPACE], slots[2 * SPACE + 64];
    uint64_t seed = granule + gap, room = 8 * MT_PAGE;
    size_t count = 0;
    memset(places, 0, sizeof places);
    for (int turn = 0; turn < 50; turn++) {
        size_t made = random_runs(&seed, runs, pages), wider = mt_runs_widen(runs, made, granule, gap, wide);
        CHECK(wider <= made);
        size_t now = mt_extents_cover(have, count, wide, wider, &room, next);
        CHECK(now <= 2 * count + wider);
        for (size_t i = 1; i < now; i++)
            CHECK(next[i - 1].address + next[i - 1].pages * MT_PAGE <= next[i].address);
        memcpy(have, next, now * sizeof *next);
        count = now;
        size_t found = mt_extents_pieces(have, count, runs, made, pieces);
        CHECK(found <= count + made);
        check_pieces(pieces, found, pages, places, room);
        CHECK_EQ(mt_pieces_pages(pieces, found), mt_pieces_of(runs, made, next) ? mt_pieces_pages(next, made) : 0);
        for (size_t i = 0, at = 0; i < found; i++)
            for (uint32_t k = 0; k < pieces[i].pages; k++)
                hashes[at++] = pieces[i].address / MT_PAGE + k;
        mt_keep_hashes(pieces, found, hashes, 8 * MT_PAGE, slots);
    }
    for (uint64_t i = 0; i < SPACE; i++) /* no two pages share a place */
        CHECK(places[i] == 0 || slots[places[i] / MT_PAGE - 8] == i);
    CHECK_EQ(mt_extents_find(have, count, UINT64_MAX), count);
    CHECK_EQ(mt_extents_find(have, count, 0), 0);
    CHECK_EQ(mt_extents_pieces(have, count, runs, 0, pieces), 0);
}

static void test_fates(void) {
    static mt_run known[SPACE], out[4 * SPACE];
    static uint8_t pages[SPACE];
    uint64_t seed = 3;
    for (int turn = 0; turn < 200; turn++) {
        size_t count = random_runs(&seed, known, pages);
        for (size_t i = 0; i < count; i++) {
            static const uint32_t flags[] = {DATA, ZERO, SWAPPED, 5 | 14 << 8};
            known[i].flags = flags[random_next(&seed) % 4];
        }
        mt_part parts[40] = {0};
        size_t made = 0;
        for (uint64_t at = random_next(&seed) % 50; made < 40 && at + 120 < SPACE; made++) {
            uint64_t edges[4] = {at};
            for (int k = 1; k < 4; k++)
                edges[k] = edges[k - 1] + random_next(&seed) % 60;
            edges[3] += edges[3] == at;
            parts[made] = (mt_part){edges[0] * MT_PAGE, edges[1] * MT_PAGE, edges[2] * MT_PAGE, edges[3] * MT_PAGE, HOLE,
                                    LEFT_OUT, made % 2 ? SWAPPED : 0, 0, 0};
            at = edges[3] + random_next(&seed) % 3;
        }
        mt_fates(known, count, parts, made, out);
        const mt_run *run = out;
        for (size_t p = 0; p < made; p++) {
            uint64_t at = parts[p].start;
            for (uint64_t i = 0; i < parts[p].runs; i++, run++) {
                CHECK(run->start == at && run->pages > 0);
                CHECK(i == 0 || run->flags != run[-1].flags);
                for (uint32_t k = 0; k < run->pages; k++, at += MT_PAGE) {
                    uint32_t wanted = at < parts[p].take || at >= parts[p].stop ? LEFT_OUT : HOLE;
                    for (size_t n = 0; wanted == HOLE && n < count; n++)
                        if (known[n].start <= at && at < known[n].start + known[n].pages * MT_PAGE &&
                            known[n].flags != parts[p].doubted) {
                            wanted = known[n].flags;
                            break;
                        }
                    CHECK_EQ(run->flags, wanted);
                }
            }
            CHECK_EQ(at, parts[p].end);
        }
        CHECK((size_t)(run - out) <= 2 * count + 5 * made);
    }
    mt_part huge = {0, 0, 40ull << 40, 40ull << 40, HOLE, LEFT_OUT, 0, 0, 0}; /* more than 32 bits of pages */
    mt_fates(known, 0, &huge, 1, out);
    CHECK_EQ(huge.runs, 3);
    CHECK(out[0].pages == UINT32_MAX && out[1].start == UINT32_MAX * MT_PAGE && out[2].flags == HOLE);
}

static void test_records(void) {
    mt_run runs[] = {{0x1000, 2, HOLE}, {0x3000, 4, DATA}, {0x7000, 1, 5 | 14 << 8}};
    mt_piece pieces[] = {{0x3000, 8192, 1, 0}, {0x4000, 20480, 3, 0}};
    mt_record out[5], bad;
    uint64_t slots[6] = {1, 2, 3, 4, 5, 6}, hashes[4], starts[4], before[4], kinds[256] = {0};
    CHECK_EQ(mt_records(runs, 3, DATA, pieces, 2, out), 4);
    CHECK(out[2].start == 0x4000 && out[2].position == 20480 && out[2].length == 3 * MT_PAGE && out[2].pages == 3);
    CHECK(out[3].kind == 5 && out[3].error == 14 && out[3].position == 0);
    CHECK_EQ(mt_record_hashes(out, 4, DATA, slots, 8192, 0), 4);
    mt_record_hashes(out, 4, DATA, slots, 8192, hashes);
    CHECK(hashes[0] == 1 && hashes[1] == 4 && hashes[3] == 6);
    mt_record_kinds(out, 4, kinds);
    CHECK(kinds[DATA] == 4 && kinds[HOLE] == 2 && kinds[5] == 1);
    mt_index_columns(out, 4, DATA, starts, before);
    CHECK(starts[3] == 0x7000 && before[2] == 1 && before[3] == 4);
    mt_run back[4], some[4];
    mt_index_runs(out, 4, back);
    CHECK(back[3].flags == (5 | 14 << 8) && back[0].pages == 2);
    CHECK_EQ(mt_runs_tagged(back, 4, 0xff, DATA, 4, some), 3);
    CHECK(some[2].start == 0x4000 && some[2].flags == 0);
    mt_runs_tag(back, 4, 7, some);
    CHECK(some[3].flags == 7 && some[3].start == 0x7000);

    const mt_index plain = {.at = 0x1000, .end = 0x8000, .low = 8192, .high = 32768, .kinds = 8, .data = DATA};
    mt_index index = plain;
    CHECK_EQ(mt_index_check(out, 4, &index), MT_INDEX_OK);
    CHECK(index.at == 0x8000 && index.pages == 4 && index.contents == 4 * MT_PAGE);
    struct {
        int wanted;
        mt_record record;
    } wrong[] = {
        {MT_INDEX_NO_RUN, {.start = 0x1000, .pages = 1, .kind = 9}},
        {MT_INDEX_NO_RUN, {.start = 0x1000, .pages = 1, .kind = 0}},
        {MT_INDEX_NO_RUN, {.start = 0x1000, .pages = 0, .kind = HOLE}},
        {MT_INDEX_NO_RUN, {.start = 0x1001, .pages = 1, .kind = HOLE}},
        {MT_INDEX_NO_RUN, {.start = UINT64_MAX - 4095, .pages = 2, .kind = HOLE}},
        {MT_INDEX_GAP, {.start = 0x2000, .pages = 1, .kind = HOLE}},
        {MT_INDEX_GAP, {.start = 0x1000, .pages = 8, .kind = HOLE}},
        {MT_INDEX_GAP, {.start = 0x1000, .pages = UINT32_MAX, .kind = HOLE}},
        {MT_INDEX_OUTSIDE, {.start = 0x1000, .pages = 1, .position = 4096, .length = 4096, .kind = DATA}},
        {MT_INDEX_OUTSIDE, {.start = 0x1000, .pages = 1, .position = 32768, .length = 4096, .kind = DATA}},
        {MT_INDEX_OUTSIDE, {.start = 0x1000, .pages = 1, .position = UINT64_MAX, .length = 4096, .kind = DATA}},
        {MT_INDEX_OUTSIDE, {.start = 0x1000, .pages = 1, .position = 8192, .length = UINT64_MAX, .kind = DATA}},
        {MT_INDEX_MISFIT, {.start = 0x1000, .pages = 1, .position = 8192, .length = 8192, .kind = DATA}},
        {MT_INDEX_MISFIT, {.start = 0x1000, .pages = 1, .position = 8192, .length = 4096, .skip = 1, .kind = DATA}},
        {MT_INDEX_MISFIT, {.start = 0x1000, .pages = 1, .position = 8192, .length = 4096, .check = 1, .kind = DATA}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        index = plain;
        CHECK_EQ(mt_index_check(&wrong[i].record, 1, &index), wrong[i].wanted);
    }
    bad = out[2]; /* the same contents again and again */
    index = plain;
    index.at = 0x4000;
    index.end = UINT64_MAX & ~4095ull;
    int found = MT_INDEX_OK;
    for (int i = 0; found == MT_INDEX_OK; i++, bad.start += 3 * MT_PAGE) {
        CHECK(i < 3);
        found = mt_index_check(&bad, 1, &index);
    }
    CHECK_EQ(found, MT_INDEX_MISFIT);
    mt_record frame = {.start = 0x1000, .pages = 3, .skip = 61, .position = 8192, .length = 100, .kind = DATA};
    index = plain;
    index.frame_pages = 64;
    index.frame_bytes = 1 << 19;
    CHECK_EQ(mt_index_check(&frame, 1, &index), MT_INDEX_OK);
    frame.skip = 62;
    index.at = 0x1000;
    CHECK_EQ(mt_index_check(&frame, 1, &index), MT_INDEX_MISFIT);
    frame.skip = UINT32_MAX;
    CHECK_EQ(mt_index_check(&frame, 1, &index), MT_INDEX_MISFIT);
}

int main(void) {
    test_extents(4096, 0);
    test_extents(1 << 16, 1 << 18);
    test_extents(2 << 20, 16 << 20);
    test_fates();
    test_records();
    return 0;
}
