/* Columns of packed records: one field of many, 64 bits wide and `stride` words apart. */
#include "core.h"

size_t mt_nonzero(const uint64_t *values, size_t stride, size_t count, uint32_t *found) {
    size_t there = 0;
    for (size_t i = 0; i < count; i++) {
        found[there] = (uint32_t)i;
        there += values[i * stride] != 0;
    }
    return there;
}
