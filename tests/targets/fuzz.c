/*
 * A target that does random things to its memory and logs, page by page, what became of it.
 *
 *   fuzz SEED WORKERS FILE      FILE: at least ARENA pages, mapped privately
 *
 * One command a line on stdin: "step N". Each worker then starts as a new thread, does N random things to
 * an arena of its own and ends. The answer, once all are done: u64 count, then count records. Between two
 * answers nothing of an arena changes, so that a tick in between must say just what the log says; a tick in
 * the middle finds its place by the time stamps.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define BLOCK 512u
#define ARENA 4096u /* pages */
#define FIRST_ARENA (char *)0x200000000000
#define WORKERS 4
#define MADV_COLLAPSE_ 25
#define MADV_POPULATE_WRITE_ 23
#define MADV_GUARD_INSTALL_ 102
#define MADV_GUARD_REMOVE_ 103

enum {
    WRITTEN, /* must be told */
    GONE,    /* unmapped, discarded or moved away: nothing to tell any more */
    MAYBE,   /* the kernel may have touched it: it may be told, whether or not it was written */
    UNSURE,  /* freed lazily, or its page tables are gone: it need not be told any more */
};

struct event {
    uint64_t begin, end; /* CLOCK_MONOTONIC, ns; it happened in between */
    uint64_t start;
    uint32_t pages, what;
};

enum { NOTHING, ANON, SHARED, MEMFD, FILE_COPY };

struct page {
    uint8_t kind, prot, huge, guard;
    uint8_t present; /* 1: it has contents of its own; 2: perhaps */
    uint32_t mapping; /* pages of one mmap have the same */
};

struct worker {
    char *base;
    struct page page[ARENA];
    struct event *log;
    size_t count, room;
    uint64_t random, steps;
    uint32_t mappings;
    int memfd, file;
    pid_t child;
    pthread_t thread;
};

static struct worker worker[WORKERS];

static uint32_t below(struct worker *w, uint32_t limit) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 20) % limit;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static char *at(struct worker *w, uint32_t page) {
    return w->base + page * PAGE;
}

static void say(struct worker *w, uint64_t begin, uint32_t first, uint32_t pages, uint32_t what) {
    struct event *last = w->count ? &w->log[w->count - 1] : NULL;
    if (last && last->begin == begin && last->what == what &&
        last->start + last->pages * PAGE == (uint64_t)at(w, first)) {
        last->pages += pages;
        last->end = now();
        return;
    }
    if (w->count == w->room)
        w->log = realloc(w->log, (w->room = w->room ? 2 * w->room : 4096) * sizeof *w->log);
    w->log[w->count++] = (struct event){begin, now(), (uint64_t)at(w, first), pages, what};
}

/* A range that starts at *first, as long as all its pages satisfy what the flags ask for. */
enum { MAPPED = 1, WRITABLE = 2, READABLE = 4, ONE_MAPPING = 8, PRIVATE_ANON = 16 };

static bool fits(struct worker *w, uint32_t page, uint32_t first, unsigned flags) {
    const struct page *p = &w->page[page], *f = &w->page[first];
    if (p->kind == NOTHING || ((flags & (WRITABLE | READABLE)) && p->guard))
        return false;
    if ((flags & WRITABLE) && !(p->prot & PROT_WRITE))
        return false;
    if ((flags & READABLE) && !(p->prot & PROT_READ))
        return false;
    if ((flags & ONE_MAPPING) && (p->mapping != f->mapping || p->prot != f->prot || p->huge != f->huge))
        return false;
    return !(flags & PRIVATE_ANON) || p->kind == ANON;
}

static uint32_t choose(struct worker *w, uint32_t *first, unsigned flags) {
    uint32_t most = below(w, 8) ? 1 + below(w, 64) : 1 + below(w, 1500), pages = 0;
    *first = below(w, ARENA);
    for (uint32_t tries = 0; tries < 64 && !fits(w, *first, *first, flags); tries++)
        *first = below(w, ARENA);
    while (pages < most && *first + pages < ARENA && fits(w, *first + pages, *first, flags))
        pages++;
    return pages;
}

#include "fuzz_memory.h"

/* ---- reading and writing ------------------------------------------------------------------------------ */

static void look(struct worker *w) {
    uint32_t first, pages = choose(w, &first, READABLE);
    for (uint32_t i = first; i < first + pages; i++)
        (void)*(volatile char *)at(w, i);
}

static void wrote(struct worker *w, uint64_t begin, uint32_t first, uint32_t pages) {
    for (uint32_t i = first; i < first + pages; i++)
        w->page[i].present = 1;
    say(w, begin, first, pages, WRITTEN);
    if (w->page[first].kind == ANON)
        perhaps_around(w, begin, first, pages);
}

static void write_pages(struct worker *w) {
    uint32_t first, pages = choose(w, &first, WRITABLE), stride = 1 + below(w, 3);
    for (uint32_t i = first; i < first + pages; i += stride) {
        uint32_t run = stride == 1 ? pages : 1;
        uint64_t begin = now();
        for (uint32_t k = i; k < i + run; k++)
            *(volatile uint64_t *)(at(w, k) + below(w, 512) * 8) += 1;
        wrote(w, begin, i, run);
        if (stride == 1)
            return;
    }
}

static void read_into(struct worker *w) {
    uint32_t first, pages = choose(w, &first, WRITABLE);
    if (!pages)
        return;
    uint64_t begin = now();
    if (pread(w->file, at(w, first), pages * PAGE, 0) == (ssize_t)(pages * PAGE))
        wrote(w, begin, first, pages);
    else
        abort();
}

static void split(struct worker *w) {
    if (w->child) { /* the one of before ends */
        kill(w->child, SIGKILL);
        waitpid(w->child, NULL, 0);
        w->child = 0;
        return;
    }
    uint32_t first, pages = choose(w, &first, WRITABLE);
    pid_t here = getpid(), child = fork();
    if (child < 0)
        return;
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(STDOUT_FILENO);
        if (getppid() != here) /* gone before the signal was asked for */
            _exit(0);
        for (uint32_t i = first; i < first + pages; i++)
            *(volatile char *)at(w, i) += 1;
        for (;;)
            pause();
    }
    w->child = child;
}

static void *work(void *argument) {
    static void (*const acts[])(struct worker *) = {
        map, map, unmap, move, move, shrink_and_grow, protect, protect, discard, lazily_free, guard, collapse,
        populate, huge, look, look, split, read_into, write_pages, write_pages, write_pages, write_pages,
        write_pages,
    };
    struct worker *w = argument;
    for (uint64_t i = 0; i < w->steps; i++)
        acts[below(w, sizeof acts / sizeof *acts)](w);
    return NULL;
}

static void step(int workers, uint64_t steps) {
    uint64_t count = 0;
    for (int i = 0; i < workers; i++) {
        worker[i].steps = steps;
        if (pthread_create(&worker[i].thread, NULL, work, &worker[i]))
            abort();
    }
    for (int i = 0; i < workers; i++) {
        pthread_join(worker[i].thread, NULL);
        count += worker[i].count;
    }
    fwrite(&count, sizeof count, 1, stdout);
    for (int i = 0; i < workers; i++) {
        fwrite(worker[i].log, sizeof *worker[i].log, worker[i].count, stdout);
        worker[i].count = 0;
    }
    fflush(stdout);
}

/* Last words: the model of this program is wrong, or somebody harmed it. */
static void crashed(int signal, siginfo_t *info, void *context) {
    (void)context;
    for (int i = 0; i < WORKERS; i++) {
        struct worker *w = &worker[i];
        uint64_t page = ((uint64_t)info->si_addr - (uint64_t)w->base) / PAGE;
        if (w->base && page < ARENA)
            fprintf(stderr, "fuzz: signal %d, worker %d, page %lu: kind %d prot %d huge %d guard %d\n", signal, i,
                    page, w->page[page].kind, w->page[page].prot, w->page[page].huge, w->page[page].guard);
    }
    _exit(1);
}

int main(int argc, char **argv) {
    char line[64];
    sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = crashed, .sa_flags = SA_SIGINFO}, NULL);
    if (argc != 4)
        return fprintf(stderr, "usage: fuzz SEED WORKERS FILE\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int workers = atoi(argv[2]);
    for (int i = 0; i < workers; i++) {
        struct worker *w = &worker[i];
        w->base = FIRST_ARENA + (size_t)i * (2 * ARENA * PAGE);
        w->random = (strtoull(argv[1], NULL, 0) + 1) * 0x9E3779B97F4A7C15ull + (unsigned)i * 0xBF58476D1CE4E5B9ull;
        w->file = open(argv[3], O_RDONLY | O_CLOEXEC);
        w->memfd = memfd_create("fuzz", MFD_CLOEXEC);
        if (w->file < 0 || w->memfd < 0 || ftruncate(w->memfd, ARENA * PAGE))
            return 1;
    }
    while (fgets(line, sizeof line, stdin))
        step(workers, strtoull(line + 5, NULL, 0));
    for (int i = 0; i < workers; i++)
        if (worker[i].child)
            kill(worker[i].child, SIGKILL);
    return 0;
}
