/*
 * What memtop is compared with, each as bare as C can be: bare_scan PID, then on stdin a word a line:
 *
 *   list      look up the mappings (not timed)
 *   census    PAGEMAP_SCAN of all of them, as memtop does without tracking
 *   armed     the same, getting and clearing written pages
 *   rest      as census, but asking what is not there or not usual: present is the rest
 *   armed-rest  written pages are got and cleared, then as rest
 *   census-huge, armed-huge  in larger steps
 *   maps      read the text of maps            smaps   read the text of smaps, and throw it away
 *   pagemap   read pagemap in chunks of 64 KiB and count what its bits say
 *
 * Answers "NANOSECONDS PAGES BYTES": how long, how many present pages it saw, how much address space.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ull
#define SLICE (64ull << 20)
#define HUGE_SLICE (256ull << 20)
#define SPARSE (64ull << 30) /* a larger mapping is scanned in one call, and read in part */
#define PAGEMAP_SCAN 0xC0606610ul
#define REGIONS 4096
#define WPALLOWED 1
#define WRITTEN 2
#define PRESENT 8
#define SWAPPED 16
#define PFNZERO 32
#define HUGE 64
#define WP_MATCHING 1

struct region {
    uint64_t start, end, categories;
};

struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returns;
};

static struct region regions[REGIONS];
static struct {
    uint64_t start, end;
} *spans;
static size_t span_count;
static int pid, pagemap;
static char buffer[1 << 16];

static int open_proc(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) perror(path), exit(1);
    return fd;
}

/* Neighbours become one span: fewer calls than mappings. */
static void list(void) {
    FILE *f = fdopen(open_proc("maps"), "r");
    uint64_t start, end;
    char perms[8], path[16] = "";
    span_count = 0;
    while (fgets(buffer, sizeof buffer, f)) {
        *path = 0;
        if (sscanf(buffer, "%lx-%lx %7s %*s %*s %*s %15s", &start, &end, perms, path) < 3) exit(1);
        if (end >> 47 || !strncmp(path, "[vvar", 5) || !strcmp(path, "[vdso]")) continue;
        if (span_count && spans[span_count - 1].end == start) {
            spans[span_count - 1].end = end;
            continue;
        }
        spans = realloc(spans, (span_count + 1) * sizeof *spans);
        spans[span_count].start = start;
        spans[span_count++].end = end;
    }
    fclose(f);
}

static uint64_t window(const struct scan *like, uint64_t start, uint64_t end) {
    uint64_t pages = 0;
    while (start < end) {
        struct scan s = *like;
        s.start = start, s.end = end;
        int got = ioctl(pagemap, PAGEMAP_SCAN, &s);
        if (got < 0) perror("PAGEMAP_SCAN"), exit(1);
        for (int i = 0; i < got; i++)
            if (like->inverted & PRESENT || regions[i].categories & PRESENT) pages += (regions[i].end - regions[i].start) / PAGE;
        if (got < REGIONS) break;
        start = s.walk_end > regions[got - 1].end ? s.walk_end : regions[got - 1].end;
    }
    return pages;
}

/* All mappings in steps; how large a step may be follows from what is known of the target. */
static uint64_t scan(int armed, int rest, uint64_t most) {
    const struct scan like = {.size = sizeof like, .vec = (uintptr_t)regions, .vec_len = REGIONS};
    struct scan present = like, written = like, absent = like;
    present.anyof = PRESENT | SWAPPED;
    present.returns = PRESENT | SWAPPED | HUGE | (armed ? WRITTEN : PFNZERO);
    if (armed) present.flags = WP_MATCHING, present.mask = WPALLOWED | PFNZERO, present.inverted = PFNZERO;
    written = present;
    written.mask |= WRITTEN;
    written.returns = WRITTEN | HUGE;
    absent.inverted = PRESENT;
    absent.anyof = absent.returns = PRESENT | SWAPPED | HUGE | PFNZERO;
    uint64_t pages = 0;
    for (size_t i = 0; i < span_count; i++) {
        uint64_t step = spans[i].end - spans[i].start > SPARSE ? 1ull << 46 : most;
        for (uint64_t at = spans[i].start; at < spans[i].end;) {
            uint64_t next = (at & ~(step - 1)) + step;
            if (next > spans[i].end) next = spans[i].end;
            if (rest) {
                if (armed) window(&written, at, next);
                pages += (next - at) / PAGE - window(&absent, at, next);
            } else {
                pages += window(&present, at, next);
            }
            at = next;
        }
    }
    return pages;
}

static uint64_t swallow(const char *name) {
    int fd = open_proc(name);
    uint64_t total = 0;
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) total += (uint64_t)n;
    close(fd);
    return total;
}

static uint64_t read_pagemap(uint64_t *bytes) {
    uint64_t *entries = (uint64_t *)buffer, counts[4] = {0};
    for (size_t i = 0; i < span_count; i++) {
        uint64_t end = spans[i].end;
        if (end - spans[i].start > SPARSE) end = spans[i].start + SPARSE;
        for (uint64_t at = spans[i].start; at < end;) {
            uint64_t want = (end - at) / PAGE * 8;
            if (want > sizeof buffer) want = sizeof buffer;
            ssize_t got = pread(pagemap, buffer, want, (off_t)(at / PAGE * 8));
            if (got <= 0) break;
            for (ssize_t k = 0; k < got / 8; k++) {
                counts[0] += entries[k] >> 63;
                counts[1] += entries[k] >> 62 & 1;
                counts[2] += entries[k] >> 57 & 1;
                counts[3] += entries[k] >> 55 & 1;
            }
            at += (uint64_t)got / 8 * PAGE;
            *bytes += (uint64_t)got / 8 * PAGE;
        }
    }
    return counts[0] + (counts[1] + counts[2] + counts[3]) * 0;
}

int main(int argc, char **argv) {
    char word[64];
    if (argc != 2) return fprintf(stderr, "usage: bare_scan PID\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid = atoi(argv[1]);
    pagemap = open_proc("pagemap");
    list();
    while (fgets(word, sizeof word, stdin)) {
        uint64_t pages = 0, bytes = 0;
        struct timespec a, b;
        word[strcspn(word, "\n")] = 0;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (!strcmp(word, "list")) list();
        if (!strcmp(word, "census")) pages = scan(0, 0, SLICE);
        if (!strcmp(word, "armed")) pages = scan(1, 0, SLICE);
        if (!strcmp(word, "rest")) pages = scan(0, 1, SLICE);
        if (!strcmp(word, "armed-rest")) pages = scan(1, 1, SLICE);
        if (!strcmp(word, "census-huge")) pages = scan(0, 0, HUGE_SLICE);
        if (!strcmp(word, "armed-huge")) pages = scan(1, 0, HUGE_SLICE);
        if (!strcmp(word, "maps") || !strcmp(word, "smaps")) bytes = swallow(word);
        if (!strcmp(word, "pagemap")) pages = read_pagemap(&bytes);
        clock_gettime(CLOCK_MONOTONIC, &b);
        printf("%ld %lu %lu\n", (b.tv_sec - a.tv_sec) * 1000000000l + b.tv_nsec - a.tv_nsec, pages, bytes);
        fflush(stdout);
    }
    return 0;
}
