/* Shared by standstill.c (memtop's side of a stop) and stopper.c (the helper that traces the threads). */
#ifndef MEMTOP_STANDSTILL_H
#define MEMTOP_STANDSTILL_H

#include <stdatomic.h>

#include "inject.h"

#define MT_THREADS 32768 /* at most so many are stopped; address space is all that this costs */
#define MT_SLOTS (2 * MT_THREADS)

enum { MT_STOPPING, MT_HOLDING, MT_RELEASED };

/* What memtop and the helper share. */
typedef struct {
    mt_stop stop;
    _Atomic int phase;
    uint64_t beat;
    uint32_t slots[MT_SLOTS]; /* open hash table of tids: index into threads + 1 */
    mt_thread threads[MT_THREADS];
} mt_frozen;

typedef struct {
    int pid, pidfd, socket, registers;
    int64_t late_ns, patience_ns;
    mt_frozen *shared;
} mt_stopper;

/* In the helper: stops all, answers on the socket, holds, and lets go when told to or when memtop is gone. */
void mt_stopper_run(mt_stopper *stopper);

#endif
