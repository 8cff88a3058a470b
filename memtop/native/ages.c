/* Cells of the maps: when each was last written, and what that makes it look like. */
#include "core.h"

static int64_t floored(int64_t value, int64_t by) {
    return value >= 0 ? value / by : -((-value + by - 1) / by);
}

void mt_ages_latest(const double *times, size_t count, int64_t from, int64_t step, int64_t cell, int whole,
                    double *latest, size_t cells) {
    for (size_t i = 0; i < cells; i++) {
        int64_t low = floored(from + (int64_t)i * step, cell);
        int64_t high = floored(from + (int64_t)(i + 1) * step + (whole ? cell - 1 : 0), cell);
        if (high <= low) high = low + 1;
        if (low < 0) low = 0;
        if (high > (int64_t)count) high = (int64_t)count;
        latest[i] = 0;
        for (int64_t at = low; at < high; at++)
            if (times[at] > latest[i]) latest[i] = times[at];
    }
}

void mt_ages_look(const double *times, const uint32_t *resident, size_t count, double now, double recent,
                  double later, uint8_t *looks) {
    for (size_t i = 0; i < count; i++) {
        double time = times[i];
        if (time >= now)
            looks[i] = 5;
        else if (!resident[i])
            looks[i] = 0;
        else if (time == 0)
            looks[i] = 1;
        else
            looks[i] = time >= recent ? 4 : time >= later ? 3 : 2;
    }
}
