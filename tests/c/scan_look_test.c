/* Looks that change nothing, by the ioctl and by pagemap entries. */
#include "scanning.h"

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
    CHECK_EQ(read[0].flags, MT_COUNT_SCANNED | MT_COUNT_NO_HUGE | MT_COUNT_NO_GUARD);
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

int main(void) {
    if (!begin(0))
        return 0;
    CHECK(mt_scan_probe(pagemap, 1ull << 40) == -EINVAL);
    test_fallback();
    test_ended();
    return finish();
}
