/* One thread of another process, stopped by this one.  Where nothing else is said: 0, or -1 with errno. */
#ifndef MEMTOP_STOPS_H
#define MEMTOP_STOPS_H

#include "inject.h"

#if MT_CAN_INJECT

/* Of a request that failed: MT_INJECT_GONE if the thread is no more, else stage, with its errno. */
int mt_lost(mt_job *job, int stage);

long mt_trace(const mt_job *job, int request, void *data);
int mt_read_regs(const mt_job *job, mt_regs *regs, size_t *size);
int mt_write_regs(const mt_job *job, const mt_regs *regs);
int mt_read_mask(const mt_job *job, uint64_t *mask);
int mt_write_mask(const mt_job *job, uint64_t mask);

int mt_seize(mt_job *job); /* MT_INJECT_* */
/* After PTRACE_INTERRUPT: waits for the stop, where the kernel is about to return it to its program.  MT_INJECT_*. */
int mt_await_trap(mt_job *job);
/* Puts its seccomp filters aside until mt_let_go; -1: it has some, and we may not. */
int mt_suspend_filters(mt_job *job);
/* 0 or -errno; status as in siginfo_t. */
int mt_wait_stop(const mt_job *job, int64_t limit_ns, int *status);
/* Goes on to the beginning or the end of a system call.  0, or the errno of what came instead; ETIMEDOUT: it had
 * not run in all that time (a frozen or starved cgroup), and was stopped where it was.  Signals that come: free: go
 * on to their handlers; else there can be none but those of a fault in borrowed code. */
int mt_resume(mt_job *job, int free);
/* Wherever it stopped; before_call: at the entry of a system call of its own that a signal would interrupt. */
int mt_let_go(const mt_job *job, int before_call);

#endif
#endif
