/* What one write fault on a protected page costs on this host. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "core.h"
#include "scan.h"
#include "uffd.h"

#define PAGES 128
#define ROUNDS 9

static int protect(int pagemap, volatile char *pages) {
    page_region region;
    scan_arg arg = {
        .size = sizeof arg,
        .flags = SCAN_WP_MATCHING,
        .start = (uintptr_t)pages,
        .end = (uintptr_t)pages + PAGES * MT_PAGE,
        .vec = (uintptr_t)&region,
        .vec_len = 1,
        .category_mask = PAGE_WRITTEN,
        .category_anyof_mask = PAGE_PRESENT,
        .return_mask = PAGE_WRITTEN,
    };
    return ioctl(pagemap, SCAN_IOCTL, &arg) < 0 ? -errno : 0;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t measure(int uffd, int pagemap, volatile char *pages) {
    int64_t spent[ROUNDS];
    int error = mt_uffd_api(uffd);
    if (!error)
        error = mt_uffd_register(uffd, (uintptr_t)pages, PAGES * MT_PAGE);
    for (int round = 0; round < ROUNDS && !error; round++) {
        error = protect(pagemap, pages);
        int64_t began = mt_now_ns();
        for (int i = 0; i < PAGES; i++)
            pages[i * MT_PAGE] = 1;
        spent[round] = mt_now_ns() - began;
    }
    if (error)
        return error;
    qsort(spent, ROUNDS, sizeof *spent, by_value); /* the median: a round may lose its processor */
    return spent[ROUNDS / 2] / PAGES;
}

int64_t mt_fault_ns(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void *pages = mmap(NULL, PAGES * MT_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (pages == MAP_FAILED)
        return -errno;
    madvise(pages, PAGES * MT_PAGE, MADV_NOHUGEPAGE);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int uffd = pagemap < 0 ? -1 : (int)syscall(SYS_userfaultfd, UFFD_FLAGS);
    int64_t answer = pagemap < 0 || uffd < 0 ? -errno : measure(uffd, pagemap, pages);
    if (uffd >= 0)
        close(uffd);
    if (pagemap >= 0)
        close(pagemap);
    munmap(pages, PAGES * MT_PAGE);
    return answer;
}
