/* Which mappings are not tracked yet. Both tables are sorted by address: one walk over the two. */
#include "scan.h"

size_t mt_uncovered(const mt_mapping *before, const uint8_t *before_modes, size_t before_count,
                    const mt_mapping *now, const uint8_t *modes, size_t now_count, uint32_t *found) {
    size_t answers = 0, old = 0;
    for (size_t i = 0; i < now_count; i++) {
        bool armed = false, unarmed = false;
        while (old < before_count && before[old].end <= now[i].start)
            old++;
        for (size_t k = old; k < before_count && before[k].start < now[i].end; k++)
            *(is_armed(before_modes[k]) ? &armed : &unarmed) = true;
        if (is_armed(modes[i]) && (unarmed || !armed))
            found[answers++] = (uint32_t)i;
    }
    return answers;
}
