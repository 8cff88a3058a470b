/* The C core's own header: api.h and dump.h plus what cffi must not see. */
#ifndef MEMTOP_CORE_H
#define MEMTOP_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "api.h"
#include "dump.h"

#define MT_PAGE 4096ull
#define MT_HUGE (2ull << 20)

_Static_assert(sizeof(mt_mapping) == 56, "memtop/model/layout.py knows this size");
_Static_assert(sizeof(mt_count) == 80, "memtop/model/layout.py knows this size");
_Static_assert(sizeof(mt_run) == 16, "memtop/model/layout.py knows this size");
_Static_assert(sizeof(mt_region) == 24, "memtop/model/layout.py knows this size");
_Static_assert(sizeof(mt_piece) == 24, "memtop/model/layout.py knows this size");

static inline int64_t mt_now_ns(void) { /* CLOCK_MONOTONIC */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static inline uint64_t mt_smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t mt_larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static inline uint64_t mt_run_end(const mt_run *run) { /* the byte behind it */
    return run->start + run->pages * MT_PAGE;
}

/* Writes [start, end) behind the runs from first to at: as part of the last one where it only goes on, and as
 * several where 32 bits of pages are too few. Returns what is behind it then. (runs.c) */
mt_run *mt_run_put(const mt_run *first, mt_run *at, uint64_t start, uint64_t end, uint32_t flags);

#endif
