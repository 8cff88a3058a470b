/*
 * A block of malloc that has huge pages in it and small ones, and is asked to grow by realloc at every line on
 * stdin: what was in it must be there. Prints the pages that it has; 0 once something was wrong.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE (2ul << 20)
#define PAGE 4096ul

static uint64_t *word(char *block, size_t page) {
    return (uint64_t *)(((uintptr_t)block + 7 + page * PAGE) & ~7ul);
}

static void fill(char *block, size_t first, size_t last) {
    for (size_t i = first; i < last; i++)
        *word(block, i) = i * 0x9E3779B97F4A7C15ull;
}

int main(void) {
    size_t pages = 32 * HUGE / PAGE;
    char *block = malloc(pages * PAGE + PAGE), line[16];
    madvise((void *)(((uintptr_t)block + PAGE) & -PAGE), pages * PAGE - PAGE, MADV_HUGEPAGE);
    fill(block, 0, pages);
    for (size_t i = HUGE / PAGE; i < pages; i += 4 * HUGE / PAGE) { /* every fourth is in small pages */
        madvise((void *)((uintptr_t)(block + i * PAGE) & -PAGE), PAGE, MADV_DONTNEED);
        fill(block, i - 1, i + 2);
    }
    printf("%zu\n", pages);
    while (fflush(stdout), fgets(line, sizeof line, stdin)) {
        char *grown = realloc(block, 2 * pages * PAGE + PAGE);
        int wrong = grown == NULL;
        for (size_t i = 0; !wrong && i < pages; i++)
            wrong = *word(grown, i) != i * 0x9E3779B97F4A7C15ull;
        block = grown;
        if (!wrong)
            fill(block, pages, 2 * pages);
        pages = wrong ? 0 : 2 * pages;
        printf("%zu\n", pages);
    }
    return 0;
}
