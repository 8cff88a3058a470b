/*
 * A target of a known shape: target small|huge|many|sparse|reserve BYTES-OR-COUNT.
 * Prints "ok"; then for each line "N" on stdin it writes N pages, evenly spread, and prints "ok";
 * "map" adds or removes one mapping.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define PAGE 4096ull
#define HUGE (2ull << 20)
#define SPARSE_PAGES 1000
#define STRETCHES 64 /* of a reserved range that are in use, as of a heap that has shrunk */
#define STRETCH (64ull << 20)

static uint64_t bytes;
static char *base;
static uint64_t stride; /* bytes between pages that are there */
static uint64_t together = UINT64_MAX, apart; /* so many of them lie together, so many bytes before the next ones */

static char *area(uint64_t size, int advice) {
    char *wide = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (wide == MAP_FAILED) perror("mmap"), exit(1);
    char *p = (char *)(((uint64_t)wide + HUGE - 1) & ~(HUGE - 1));
    madvise(p, size, advice);
    return p;
}

static char *page(uint64_t i) {
    return base + i / together * apart + i % together * stride;
}

static void touch_all(void) {
    for (uint64_t i = 0; i < bytes / stride; i++) *page(i) = 1;
}

int main(int argc, char **argv) {
    char line[64];
    if (argc != 3) return fprintf(stderr, "usage: target small|huge|many|sparse|reserve SIZE\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bytes = strtoull(argv[2], NULL, 0);
    stride = PAGE;
    if (!strcmp(argv[1], "many")) { /* as thread stacks are: 3 pages, then a guard page */
        uint64_t count = bytes;
        bytes = count / 2 * 4 * PAGE;
        base = area(bytes, MADV_NOHUGEPAGE);
        touch_all();
        for (uint64_t i = 0; i < count / 2; i++)
            if (mprotect(base + (i * 4 + 3) * PAGE, PAGE, PROT_NONE)) return perror("mprotect"), 1;
        stride = 4 * PAGE;
    } else {
        base = area(bytes, !strcmp(argv[1], "huge") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
        if (!strcmp(argv[1], "sparse")) stride = bytes / SPARSE_PAGES / PAGE * PAGE;
        if (!strcmp(argv[1], "reserve")) {
            together = STRETCH / PAGE;
            apart = bytes / STRETCHES;
            bytes = STRETCHES * STRETCH;
        }
        touch_all();
    }
    void *extra = NULL;
    for (;;) {
        puts("ok");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (!strncmp(line, "map", 3)) {
            if (extra) {
                munmap(extra, PAGE);
                extra = NULL;
            } else {
                extra = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            }
            continue;
        }
        uint64_t count = strtoull(line, NULL, 0), pages = bytes / stride;
        for (uint64_t i = 0; i < count; i++) *page(i * pages / count) += 1;
    }
}
