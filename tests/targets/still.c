/*
 * A process of several threads that stand where a debugger should find them: still [FILE [BYTES]]
 *
 * Main calls outer, which calls inner, which waits in a read; one thread waits in epoll_wait, one computes with vector
 * registers.  FILE ("-": none) is mapped privately; BYTES of address space (64 MiB) have a page in each 16th.  Maps memory of many kinds, known by symbols.  Prints its pid; a line on stdin ends it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 64
#define SIZE (PAGES * 4096ul)

uint64_t marker = 0x1122334455667788;
char *private_memory, *shared_memory, *sealed, *sparse, *zeros, *left_out, *file_private;
volatile int epoll_errors;
static volatile int ready;

static void *wait_in_epoll(void *argument) {
    struct epoll_event event;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    ready++;
    for (;;)
        if (epoll_wait(fd, &event, 1, -1) < 0)
            epoll_errors++;
    return argument;
}

static void *compute(void *argument) {
    static volatile uint64_t seed[4] = {0xaaaaaaaa11111111, 0xbbbbbbbb22222222, 0xcccccccc33333333, 0xdddddddd44444444};
    ready++;
    for (;;)
        __asm__ volatile("movdqu %0, %%xmm7\n" : : "m"(*(const char(*)[16])seed) : "xmm7");
    return argument;
}

__attribute__((noinline)) static int inner(int depth) {
    char byte;
    printf("%d\n", getpid());
    fflush(stdout);
    return read(0, &byte, 1) == 1 ? depth : -1;
}

__attribute__((noinline)) static int outer(int depth) {
    return inner(depth + 1) + 1;
}

static char *map(size_t size, int flags, int fd) {
    char *at = mmap(0, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED)
        exit(1);
    return at;
}

static void fill(char *at, size_t size, int seed) {
    for (size_t i = 0; i < size; i++)
        at[i] = (char)(seed + i * 31 + i / 4096);
}

int main(int argc, char **argv) {
    pthread_t thread;
    private_memory = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    shared_memory = map(SIZE, MAP_SHARED | MAP_ANONYMOUS, -1);
    sealed = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    size_t wide = argc > 2 ? strtoul(argv[2], 0, 0) : 64ul << 20;
    sparse = map(wide, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    zeros = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    left_out = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(private_memory, SIZE, 1);
    fill(shared_memory, SIZE, 2);
    fill(sealed, SIZE, 3);
    fill(left_out, SIZE, 4);
    mprotect(sealed, SIZE, PROT_NONE);
    madvise(left_out, SIZE, MADV_DONTDUMP);
    for (size_t i = 0; i < 16; i++)
        fill(sparse + i * (wide / 16), 4096, (int)i);
    for (size_t i = 0; i < SIZE; i += 4096)
        if (zeros[i])
            return 1;
    if (argc > 1 && argv[1][0] != '-') { /* a file of several pages: the first is written, the others are not */
        int fd = open(argv[1], 0);
        file_private = map(SIZE, MAP_PRIVATE, fd);
        file_private[0] = 'x';
    }
    if (pthread_create(&thread, 0, wait_in_epoll, 0) || pthread_create(&thread, 0, compute, 0))
        return 1;
    while (ready < 2)
        usleep(100);
    return outer(argc) + (argv[0] == 0);
}
