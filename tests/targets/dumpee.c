/*
 * A process whose memory tells whether a dump of it is true: dumpee THREADS PAGES RATE
 *
 * Every thread writes its own PAGES pages in turn, RATE a second (0: as fast as it can).  A page holds, as 64-bit
 * words: sequence number, address, words that follow from both, sequence number.  They are stored in this order, so
 * at any instant a page is an old one from some word on and a new one before it.  After a page is written,
 * the thread stores its number in the common page.  So at one point in time, and only then, all pages of a thread
 * follow each other up to that number, or one more.
 *
 * Prints "PID COMMON FIRST" (addresses), then waits for lines: "written" answers with the pages written by now; with a
 * fourth argument, "gap" with the longest time in microseconds that a thread of its own saw between two looks
 * at the clock, one every 50 (with real-time priority where it may, so that it is no other process that it
 * waits for); "where" with the address of the first page again; "touch N" writes to N pages that lie far
 * apart, without a change; end of input ends it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WORDS 512

static uint64_t pages, rate;
static volatile uint64_t *common; /* word t: the last page that thread t finished */
static volatile uint64_t *memory;
static _Atomic uint64_t worst;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t word(uint64_t sequence, uint64_t address, uint64_t i) {
    uint64_t x = (sequence * 0x9E3779B97F4A7C15u) ^ (address + i * 8);
    return (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
}

static void write_page(volatile uint64_t *page, uint64_t sequence) {
    page[0] = sequence;
    page[1] = (uintptr_t)page;
    for (uint64_t i = 2; i < WORDS - 1; i++)
        page[i] = word(sequence, (uintptr_t)page, i);
    page[WORDS - 1] = sequence;
}

static void *work(void *argument) {
    uint64_t t = (uintptr_t)argument, begin = now();
    volatile uint64_t *own = memory + t * pages * WORDS;
    for (uint64_t sequence = pages;; sequence++) {
        while (rate && (now() - begin) / 1000 * rate / 1000000 < sequence - pages)
            nanosleep(&(struct timespec){0, 100000}, 0);
        write_page(own + sequence % pages * WORDS, sequence);
        common[t] = sequence;
    }
    return 0;
}

static void *watch(void *argument) {
    struct sched_param least = {sched_get_priority_min(SCHED_FIFO)};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &least);
    for (uint64_t last = now();;) {
        nanosleep(&(struct timespec){0, 50000}, 0);
        uint64_t at = now(), gap = at - last;
        last = at;
        if (gap > atomic_load_explicit(&worst, memory_order_relaxed))
            atomic_store_explicit(&worst, gap, memory_order_relaxed);
    }
    return argument;
}

static uint64_t touch(uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        memory[i * (pages / count) * WORDS + 9] = memory[i * (pages / count) * WORDS + 9];
    return count;
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    uint64_t threads = strtoull(argv[1], 0, 0);
    pages = strtoull(argv[2], 0, 0);
    rate = strtoull(argv[3], 0, 0);
    common = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = mmap(0, threads * pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (common == MAP_FAILED || memory == MAP_FAILED)
        return 1;
    madvise((void *)memory, threads * pages * 4096, MADV_NOHUGEPAGE);
    for (uint64_t t = 0; t < threads; t++) {
        for (uint64_t p = 0; p < pages; p++)
            write_page(memory + (t * pages + p) * WORDS, p);
        common[t] = pages - 1;
    }
    pthread_t thread;
    for (uint64_t t = 0; t < threads; t++)
        if (pthread_create(&thread, 0, work, (void *)(uintptr_t)t))
            return 1;
    if (argc > 4 && pthread_create(&thread, 0, watch, 0))
        return 1;
    printf("%d %#lx %#lx\n", getpid(), (unsigned long)(uintptr_t)common, (unsigned long)(uintptr_t)memory);
    fflush(stdout);
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t sum = 0;
        for (uint64_t t = 0; t < threads; t++)
            sum += common[t] + 1 - pages;
        if (line[0] == 'g')
            printf("%lu\n", (unsigned long)(atomic_exchange(&worst, 0) / 1000));
        else if (line[0] == 't')
            printf("%lu\n", (unsigned long)touch(strtoull(line + 6, 0, 0)));
        else if (line[1] == 'h')
            printf("%lu\n", (unsigned long)(uintptr_t)memory);
        else
            printf("%lu\n", (unsigned long)sum);
        fflush(stdout);
    }
    return 0;
}
