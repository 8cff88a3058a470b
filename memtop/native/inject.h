/* Shared by the files that find a syscall instruction (code.c), run it in a stopped thread (tracee.c) and
 * keep all that in a helper process (inject.c). */
#ifndef MEMTOP_INJECT_H
#define MEMTOP_INJECT_H

#include <sched.h>
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

/* The mappings of the process, read by a thread of it that has not ended.  0 or -errno. */
int mt_read_layout(int pid, int tid, mt_maps *maps);
/* Looks for code of length bytes in what the thread has mapped as program text, [vdso] first, without
 * stopping it.  1: *found is its address there; 0: not found; -errno. */
int mt_find_code(const mt_maps *maps, int tid, const char *code, size_t length, uint64_t *found);

#if MT_CAN_INJECT

#define MT_PATIENCE 10

/* Who may end what: memtop may kill the helper only while the target is untouched.  DONE: the result is whole, and
 * what is left is the helper's own end. */
enum { MT_UNTOUCHED, MT_CHANGED, MT_CALLED_OFF, MT_DONE };

/* The page that memtop and the helper share. */
typedef struct {
    _Atomic int phase;
    int remote; /* the descriptor that the thread closes by itself, when it comes to run */
    mt_injection result;
} mt_shared;

typedef struct {
    int pid, tid, pidfd, socket;
    int pagemap;         /* of the target, open in the helper */
    int filtered;        /* the thread has a seccomp filter */
    const mt_maps *maps; /* of the target, read after the thread began */
    const mt_mapping *stack;    /* among these, the main thread's, or 0 */
    uint64_t code, load, pivot; /* in the target: MT_CALL_CODE, MT_LOAD_CODE, and MT_PIVOT_CODE or 0 */
    mt_vectors vectors;  /* how a signal frame holds vector state */
    uint64_t frame;      /* where in the target the mt_frame is */
    int64_t limit_ns;    /* for a stop, if the thread is in state D; MT_PATIENCE times that if it is not */
    mt_regs regs;        /* where the thread is stopped in its own program */
    uint64_t mask;       /* its signal mask */
    int suspends;        /* its filters are put aside until we let go */
    int stopped;         /* by a signal (SIGSTOP), not by us */
    int64_t free_ns;     /* that it ran its own code in between */
    int remote;          /* the userfaultfd in the target, or -errno */
    int runs, detached;   /* the thread has been let go; and we do not trace it any more */
    cpu_set_t processors; /* that we may run on when the thread goes on; none: as it is */
    mt_shared *shared;
} mt_job;

/* moment.c: waits a while if the thread is in a call that would notice a stop. */
void mt_await_moment(int pid, int tid);

/* turn.c, in the helper: goes to the processor of the thread, and comes first there; and away again. */
void mt_turn_begin(mt_job *job);
void mt_turn_end(const mt_job *job);

/* tracee.c, in the helper: stops the thread, makes a userfaultfd in it, fetches that, and lets the thread go on as
 * it was.  Returns MT_INJECT_*; the errno and the time go to the shared page. */
int mt_tracee_make_uffd(mt_job *job, int *uffd);
int mt_fail(mt_job *job, int stage, int error);
int mt_job_read(const mt_job *job, uint64_t at, void *to, size_t size);

/* frame.c.  [stack], or 0. */
const mt_mapping *mt_main_stack(const mt_maps *maps);
/* May the thread have a stack for a frame, as far as that shows from outside?  Go's have none. */
int mt_frame_likely(const mt_job *job);
/* Writes the frame that gives the stopped thread back with regs and job->mask.  Returns MT_INJECT_*. */
int mt_frame_write(mt_job *job, const mt_regs *regs);

/* Who may need the frame: others than the thread as it is now (a handler that returns to the way there, another
 * frame); only the thread itself, when it is seen to be on that way. */
enum { MT_FRAME_SHARED = 1, MT_FRAME_ALONE };
int mt_frame_set(const mt_job *job, uint64_t state);

/* filter.c: would the stopped thread survive the calls if its filters were not suspended? */
int mt_filters_harmless(int tid);
struct sock_filter;
/* What a filter says to a call of that number; the severest action if it asks for more than the number. */
uint32_t mt_filter_run(const struct sock_filter *program, size_t count, uint32_t number);

#endif
#endif
