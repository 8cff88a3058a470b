/*
 * XXH64 with seed 0: the hash of a page in a snapshot (docs/snapshot-format.md).
 *
 * Known, published and in every language's libraries, so that another program can check a snapshot; as fast as
 * memory, so that it costs a dump next to nothing.
 */
#include "core.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87ull
#define P2 0xC2B2AE3D27D4EB4Full
#define P3 0x165667B19E3779F9ull
#define P4 0x85EBCA77C2B2AE63ull
#define P5 0x27D4EB2F165667C5ull

static uint64_t rotate(uint64_t value, int by) {
    return value << by | value >> (64 - by);
}

static uint64_t load64(const uint8_t *at) { /* little-endian, as the algorithm is defined */
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static uint32_t load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static uint64_t round64(uint64_t lane, uint64_t input) {
    return rotate(lane + input * P2, 31) * P1;
}

static uint64_t merge(uint64_t hash, uint64_t lane) {
    return (hash ^ round64(0, lane)) * P1 + P4;
}

uint64_t mt_hash(const void *data, size_t size) {
    const uint8_t *at = data, *end = at + size;
    uint64_t hash;
    if (size >= 32) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1;
        for (; end - at >= 32; at += 32) {
            a = round64(a, load64(at));
            b = round64(b, load64(at + 8));
            c = round64(c, load64(at + 16));
            d = round64(d, load64(at + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    } else {
        hash = P5;
    }
    hash += size;
    for (; end - at >= 8; at += 8)
        hash = rotate(hash ^ round64(0, load64(at)), 27) * P1 + P4;
    if (end - at >= 4) {
        hash = rotate(hash ^ load32(at) * P1, 23) * P2 + P3;
        at += 4;
    }
    for (; at < end; at++)
        hash = rotate(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

void mt_hash_pages(const uint8_t *pages, size_t count, uint64_t *hashes) {
    for (size_t i = 0; i < count; i++)
        hashes[i] = mt_hash(pages + i * MT_PAGE, MT_PAGE);
}

size_t mt_mark_same(const uint64_t *now, const uint64_t *before, size_t count, uint8_t *states, uint8_t state) {
    size_t same = 0;
    for (size_t i = 0; i < count; i++)
        if (states[i] == MT_PAGE_DATA && now[i] == before[i]) {
            states[i] = state;
            same++;
        }
    return same;
}
