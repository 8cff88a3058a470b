/* A process with COUNT mappings of one page: prints "ok ADDRESS" of the first, each two pages behind the last, with its
 * number from 1 on in it; or "no".  Ends with its stdin. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], 0, 0) : 0;
    char *at = mmap(0, 2 * count * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), byte;
    int ok = at != MAP_FAILED && munmap(at, 2 * count * 4096) == 0;
    for (size_t i = 0; ok && i < count; i++) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        ok = mmap(at + 2 * i * 4096, 4096, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
        if (ok)
            *(uint64_t *)(at + 2 * i * 4096) = i + 1;
    }
    if (ok)
        printf("ok %p\n", at);
    else
        printf("no\n");
    fflush(stdout);
    return read(0, &byte, 1) > 0;
}
