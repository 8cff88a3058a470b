/* Columns of packed records, 64 bits wide and `stride` words apart: where something is, and in which order. */
#include <string.h>

#include "core.h"

size_t mt_nonzero(const uint64_t *values, size_t stride, size_t count, uint32_t *found) {
    size_t there = 0;
    for (size_t i = 0; i < count; i++) {
        found[there] = (uint32_t)i;
        there += values[i * stride] != 0;
    }
    return there;
}

/* Digit by digit from the lowest on: each pass keeps the order of the one before where the digits are equal. */
void mt_order(const uint64_t *keys, size_t stride, int down, uint32_t *order, uint32_t *spare, size_t count) {
    uint64_t flip = down ? ~0ull : 0;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t starts[257] = {0}; /* of each digit's part; first how many have the digit before it */
        for (size_t i = 0; i < count; i++)
            starts[(uint8_t)((keys[order[i] * stride] ^ flip) >> shift) + 1]++;
        size_t most = 0;
        for (unsigned digit = 0; digit < 256; digit++) {
            most = starts[digit + 1] > most ? starts[digit + 1] : most;
            starts[digit + 1] += starts[digit];
        }
        if (most == count) /* all have the same one */
            continue;
        for (size_t i = 0; i < count; i++)
            spare[starts[(uint8_t)((keys[order[i] * stride] ^ flip) >> shift)]++] = order[i];
        memcpy(order, spare, count * sizeof *order);
    }
}
