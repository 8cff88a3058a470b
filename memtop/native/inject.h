/* Shared by the files that find a syscall instruction (code.c), run it in a stopped thread (tracee.c) and
 * keep all that in a helper process (inject.c). */
#ifndef MEMTOP_INJECT_H
#define MEMTOP_INJECT_H

#include <stdatomic.h>

#include "core.h"

#if defined(__x86_64__)
#define MT_CAN_INJECT 1
#include "arch_x86_64.h"
#else
#define MT_CAN_INJECT 0
#if defined(__aarch64__)
#include "arch_aarch64.h" /* compiled, not proven */
#endif
#endif

/* Looks for code of length bytes in what the thread has mapped as program text, [vdso] first, without
 * stopping it.  1: *found is its address there; 0: not found; -errno. */
int mt_find_code(int pid, int tid, const char *code, size_t length, uint64_t *found);

#if MT_CAN_INJECT

#define MT_PATIENCE 10

/* Who may end what: memtop may kill the helper only while the target is untouched. */
enum { MT_UNTOUCHED, MT_CHANGED, MT_CALLED_OFF };

/* The page that memtop and the helper share. */
typedef struct {
    _Atomic int phase;
    mt_injection result;
} mt_shared;

typedef struct {
    int pid, tid, pidfd, socket;
    int filtered;      /* the thread has a seccomp filter */
    uint64_t code;     /* a syscall instruction in the target */
    int64_t limit_ns;  /* for a stop, if the thread is in state D; MT_PATIENCE times that if it is not */
    mt_regs regs;      /* what the thread gets back */
    uint64_t mask;     /* its signal mask */
    int touched;       /* regs must be written back */
    int masked;        /* mask must be written back */
    mt_shared *shared;
} mt_job;

/* In the helper: stops the thread, makes a userfaultfd in it, fetches that, and lets the thread go on as it
 * was.  Returns MT_INJECT_*; the errno and the time go to the shared page. */
int mt_tracee_make_uffd(mt_job *job, int *uffd);
int mt_fail(mt_job *job, int stage, int error);

#endif
#endif
