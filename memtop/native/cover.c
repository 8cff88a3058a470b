/* Which mappings are not covered by what is armed already.
 *
 * Both tables are sorted by address, so one walk over the two answers it.  What was armed counts as one
 * range where mappings touch: the kernel merges and splits registered VMAs freely (mprotect, brk growth).
 */
#include "core.h"

static int is_armed(uint8_t mode) {
    return mode == MT_MODE_ARMED || mode == MT_MODE_ARMED_FILE;
}

size_t mt_uncovered(const mt_mapping *before, const uint8_t *before_modes, size_t before_count,
                    const mt_mapping *now, const uint8_t *modes, size_t now_count, uint32_t *found) {
    size_t answers = 0, old = 0;
    for (size_t i = 0; i < now_count; i++) {
        if (!is_armed(modes[i]))
            continue;
        while (old < before_count && before[old].end <= now[i].start)
            old++;
        uint64_t covered = now[i].start;
        for (size_t k = old; k < before_count && covered < now[i].end; k++) {
            if (before[k].start > covered || !is_armed(before_modes[k]))
                break;
            covered = before[k].end;
        }
        if (covered < now[i].end)
            found[answers++] = (uint32_t)i;
    }
    return answers;
}
