/* Pages copied out of this very process: contents, zeros, holes in the mapping, and what is not to be read. */
#include "check.h"

#include <errno.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 1000 };

static uint8_t *fresh(size_t pages) {
    uint8_t *at = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void test_hash(void) { /* the algorithm's own test values */
    CHECK_EQ(mt_hash("", 0), 0xEF46DB3751D8E999ull);
    CHECK_EQ(mt_hash("a", 1), 0xD24EC4F1A98C6E5Bull);
    CHECK_EQ(mt_hash("abc", 3), 0x44BC2CF5AD770999ull);
    CHECK_EQ(mt_hash("Nobody inspects the spammish repetition", 39), 0xFBCEA83C8A378BF1ull);
}

static void test_copy(void) {
    static uint8_t states[PAGES];
    static uint64_t hashes[PAGES];
    uint8_t *memory = fresh(PAGES), *out = fresh(PAGES);
    uint64_t seed = 5;
    for (int i = 0; i < PAGES; i++)
        if (i % 7)
            memory[i * 4096 + random_next(&seed) % 4096] = (uint8_t)(i | 1);
    CHECK(munmap(memory + 300 * 4096, 4096) == 0);
    CHECK(munmap(memory + 701 * 4096, 30 * 4096) == 0);
    mt_piece pieces[] = {{(uintptr_t)memory, 0, 1, 0},
                         {(uintptr_t)memory + 4096, 4096, 499, 0},
                         {(uintptr_t)memory + 600 * 4096, 600 * 4096, 400, 0}};
    char name[] = "/tmp/copy-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    mt_copied copied;
    mt_copy_request request = {.pid = getpid(), .mem_fd = -1, .out_fd = fd, .direct_fd = -1, .hashes = hashes, .states = states};
    CHECK_EQ(mt_copy(&request, pieces, 3, &copied), 0);
    CHECK_EQ(copied.pages, 900);
    CHECK_EQ(copied.unreadable, 31);
    for (int i = 0, k = 0; i < PAGES; i++) {
        if (i == 500)
            i = 600;
        int gone = i == 300 || (i >= 701 && i < 731), zero = i % 7 == 0;
        CHECK_EQ(states[k], gone ? EFAULT : zero ? MT_PAGE_ZERO : MT_PAGE_DATA);
        CHECK_EQ(hashes[k], gone || zero ? 0 : mt_hash(memory + i * 4096, 4096));
        if (!gone && !zero) {
            CHECK_EQ(pread(fd, out, 4096, i * 4096), 4096);
            CHECK(memcmp(out, memory + i * 4096, 4096) == 0);
        }
        k++;
    }
    /* what has become zero since must not stay in the file */
    memset(memory + 4096, 0, 4096);
    request.overwrite = 1;
    CHECK_EQ(mt_copy(&request, pieces, 2, &copied), 0);
    CHECK_EQ(pread(fd, out, 4096, 4096), 4096);
    CHECK_EQ(out[0] | memcmp(out, out + 1, 4095), 0);
    /* into memory, and from there into the file */
    memory[2 * 4096 + 9] = 77;
    request = (mt_copy_request){.pid = getpid(), .mem_fd = -1, .out_fd = -1, .direct_fd = -1, .out = out, .states = states};
    CHECK_EQ(mt_copy(&request, pieces, 2, &copied), 0);
    mt_copy_request later = {.held = out, .held_states = states, .out_fd = fd, .direct_fd = -1, .overwrite = 1};
    CHECK_EQ(mt_copy(&later, pieces, 2, &copied), 0);
    CHECK_EQ(copied.unreadable, 1);
    CHECK_EQ(pread(fd, out, 4096, 2 * 4096), 4096);
    CHECK_EQ(out[9], 77);
    /* a file that takes no more */
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    later = (mt_copy_request){.held = memory + 4096, .out_fd = full, .direct_fd = -1};
    memory[4096] = 1;
    mt_piece one = {0, 0, 1, 0};
    CHECK_EQ(mt_copy(&later, &one, 1, &copied), -ENOSPC);
    CHECK_EQ(copied.writing, 1);
    close(full);
    close(fd);
}

/* Past the page cache: large parts, small ones and zeros, by many threads; memory that is not aligned. */
static void test_direct(void) {
    enum { MANY = 6000 };
    uint8_t *memory = fresh(MANY), *back = fresh(MANY);
    uint64_t seed = 11;
    for (size_t i = 0; i < MANY; i++)
        if (i < 3000 || i % 19)
            for (size_t k = 0; k < 4096; k += 512)
                memory[i * 4096 + k] = (uint8_t)(random_next(&seed) | 1);
    memset(memory + 1000 * 4096, 0, 300 * 4096);
    char name[] = "/var/tmp/copy-XXXXXX"; /* /tmp may be in memory */
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    unlink(name);
    int direct = mt_open_direct(fd);
    if (direct < 0) {
        puts("skip: a file system with O_DIRECT");
        exit(0);
    }
    mt_piece pieces[] = {{(uintptr_t)memory, 8192, MANY, 0}};
    mt_copied copied;
    mt_copy_request request = {.pid = getpid(), .mem_fd = -1, .out_fd = fd, .direct_fd = direct};
    CHECK_EQ(mt_reserve(fd, pieces, 1, 16), 0);
    for (int turn = 0; turn < 2; turn++) {
        if (turn) { /* what was there before must not show */
            memset(memory + 2000 * 4096, 0, 50 * 4096);
            memory[5 * 4096] ^= 1;
            request.overwrite = 1;
        }
        CHECK_EQ(mt_copy(&request, pieces, 1, &copied), 0);
        CHECK_EQ(copied.pages, MANY);
        CHECK_EQ(pread(fd, back, MANY * 4096, 8192), MANY * 4096);
        CHECK(memcmp(back, memory, MANY * 4096) == 0);
    }
    mt_piece cleared = {0, 8192 + 1000 * 4096, 300, 0};
    CHECK_EQ(mt_unreserve(fd, &cleared, 1, 301), 0);
    CHECK_EQ(lseek(fd, 8192 + 999 * 4096, SEEK_HOLE), 8192 + 1000 * 4096);
    CHECK_EQ(mt_unreserve(fd, &cleared, 1, 300), 0);
    CHECK_EQ(pread(fd, back, MANY * 4096, 8192), MANY * 4096);
    CHECK(memcmp(back, memory, MANY * 4096) == 0);
    mt_piece part = {0, 8192, 100, 0};
    mt_copy_request later = {.held = memory + 8, .out_fd = fd, .direct_fd = direct};
    CHECK_EQ(mt_copy(&later, &part, 1, &copied), 0);
    CHECK_EQ(pread(fd, back, 100 * 4096, 8192), 100 * 4096);
    CHECK(memcmp(back, memory + 8, 100 * 4096) == 0);
    close(direct);
    close(fd);
}

static void test_state_runs(void) {
    uint8_t states[] = {0, 0, 255, 255, 255, 0, 14};
    mt_piece pieces[] = {{0x10000, 0, 3, 0}, {0x13000, 0, 4, 0}};
    mt_run out[7];
    CHECK_EQ(mt_state_runs(pieces, 2, states, 255, out), 1);
    CHECK(out[0].start == 0x12000 && out[0].pages == 3);
    CHECK_EQ(mt_state_runs(pieces, 2, states, 0, out), 2);
    CHECK(out[1].start == 0x15000 && out[1].pages == 1);
    mt_region regions[] = {{0x1000, 0x3000, 8}, {0x3000, 0x4000, 8 | 2}, {0x4000, 0x5000, 8 | 32}, {0x6000, 0x7000, 16}};
    CHECK_EQ(mt_regions_runs(regions, 4, 8, 32, out), 1);
    CHECK(out[0].start == 0x1000 && out[0].pages == 3);
    uint64_t now[] = {1, 2, 3}, before[] = {1, 5, 3};
    uint8_t three[] = {0, 0, 255};
    CHECK_EQ(mt_mark_same(now, before, 3, three, 254), 1);
    CHECK(three[0] == 254 && three[1] == 0 && three[2] == 255);
}

int main(void) {
    test_hash();
    test_copy();
    test_state_runs();
    test_direct();
    return 0;
}
