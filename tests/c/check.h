/* Assertions of the C tests. A program ends with 0, or 1 at the first failure; "skip: ..." lines say what this
 * machine lacks. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

#define CHECK_EQ(got, wanted) \
    do { \
        int64_t got_ = (int64_t)(got), wanted_ = (int64_t)(wanted); \
        if (got_ != wanted_) { \
            fprintf(stderr, "%s:%d: %s is %" PRId64 " and not %s, %" PRId64 "\n", __FILE__, __LINE__, #got, got_, \
                    #wanted, wanted_); \
            exit(1); \
        } \
    } while (0)

/* xorshift: the same numbers in every run. */
static inline uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

#endif
