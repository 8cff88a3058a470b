/*
 * A writer of random pages: hammer MIB THREADS.  "ok PID" once its memory is there; then each line on stdin
 * is a rate, pages a second of each thread: 0 none, -1 as fast as it goes.  Ends with stdin.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ull
#define BATCH 64

static volatile char *memory;
static uint64_t pages;
static volatile long rate;

static void *hammer(void *seed) {
    uint64_t state = (uintptr_t)seed * 0x9E3779B97F4A7C15ull + 1;
    for (;;) {
        long now = rate;
        if (now == 0) {
            usleep(1000);
            continue;
        }
        for (int i = 0; i < BATCH; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            memory[(state >> 11) % pages * PAGE] += 1;
        }
        if (now > 0) usleep((useconds_t)(BATCH * 1000000ull / (uint64_t)now));
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: hammer MIB THREADS\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pages = strtoull(argv[1], NULL, 0) << 8;
    memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return perror("mmap"), 1;
    madvise((void *)memory, pages * PAGE, MADV_NOHUGEPAGE);
    memset((void *)memory, 1, pages * PAGE);
    pthread_t thread;
    for (long i = 0; i < atol(argv[2]); i++) pthread_create(&thread, NULL, hammer, (void *)(i + 1));
    printf("ok %d\n", getpid());
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) rate = atol(line);
    return 0;
}
