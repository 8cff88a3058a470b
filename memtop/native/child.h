/* A forked process for work that must not happen inside memtop: tracing a target, trying out a kernel. */
#ifndef MEMTOP_CHILD_H
#define MEMTOP_CHILD_H

#include <stddef.h>
#include <stdint.h>

#define MT_MASK_SIZE 8 /* bytes of a kernel sigset_t; the C library's wrappers would leave its own signals open */

/* Calls that the C library of an old distribution has no numbers for. */
#define MT_NR_PIDFD_SEND_SIGNAL 424
#define MT_NR_PIDFD_OPEN 434
#define MT_NR_CLOSE_RANGE 436
#define MT_NR_PIDFD_GETFD 438

/* Forks with every signal blocked in the child; memtop's mask is as before.  0 in the child, its pid in
 * memtop, or -errno.  The child may only make system calls: memtop has threads, and one of them may hold
 * the allocator's lock.  No SIGCHLD comes when it ends, and no waitpid(-1) of memtop's can reap it. */
int mt_child_fork(void);
/* Waits at most timeout_ms.  1: it has ended, status as from waitpid(2); 0: it has not; -errno. */
int mt_child_wait(int pid, int timeout_ms, int *status);
/* SIGKILL, and reaps it. */
void mt_child_kill(int pid);
/* It need not be waited for: it is reaped when the next one is made, if it has ended by then. */
void mt_child_leave(int pid);
/* In the child: closes all descriptors but these two (-1: none). */
void mt_child_close_all_but(int a, int b);

/* Reads /proc/PID/task/TID/NAME into text, zero-terminated.  Its length, or -errno; no allocation. */
int mt_read_task(int pid, int tid, const char *name, char *text, size_t size);

#endif
