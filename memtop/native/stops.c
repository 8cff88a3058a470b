/* Stopping one thread of another process, and letting it go on: ptrace(2), as a tracer that may be killed. */
#include "stops.h"

#if MT_CAN_INJECT

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

#define OPTION_SUSPEND_SECCOMP (1 << 21) /* a C library of an old distribution lacks it */

int mt_fail(mt_job *j, int stage, int error) {
    j->shared->result.error = error;
    return stage;
}

/* A failed ptrace request: ESRCH means that the thread is no more. */
int mt_lost(mt_job *j, int stage) { return mt_fail(j, errno == ESRCH ? MT_INJECT_GONE : stage, errno); }

long mt_trace(const mt_job *j, int request, void *data) {
    return ptrace(request, j->tid, (void *)0, data);
}

int mt_read_regs(const mt_job *j, mt_regs *regs, size_t *size) {
    struct iovec io = {regs, sizeof *regs};
    if (ptrace(PTRACE_GETREGSET, j->tid, (void *)NT_PRSTATUS, &io) != 0)
        return -1;
    *size = io.iov_len;
    return 0;
}

int mt_write_regs(const mt_job *j, const mt_regs *regs) {
    struct iovec io = {(void *)regs, sizeof *regs};
    return (int)ptrace(PTRACE_SETREGSET, j->tid, (void *)NT_PRSTATUS, &io);
}

int mt_job_read(const mt_job *j, uint64_t at, void *to, size_t size) {
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)at, size};
    return process_vm_readv(j->tid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -1;
}

/* ---- stops -------------------------------------------------------------------------------- */

/* Can the thread not be stopped, however long we wait?  Otherwise it is only short of a processor. */
static int is_uninterruptible(const mt_job *j) {
    char text[1024];
    mt_read_task(j->pid, j->tid, "stat", text, sizeof text);
    const char *name_end = strrchr(text, ')'); /* the name may hold anything */
    return !name_end || strncmp(name_end, ") D", 3) == 0;
}

/*
 * Waits for the thread to stop; limit_ns 0: for as long as it takes.  It sleeps rather than spins: on one
 * processor the thread could not run, on two it would be woken on another one, which takes longer.
 *
 * WNOWAIT: a signal that is reported to a tracer is lost if that one takes the report and then ends.
 */
int mt_wait_stop(const mt_job *j, int64_t limit_ns, int *status) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    int64_t begin = limit_ns ? mt_now_ns() : 0, left = limit_ns;
    for (;;) {
        siginfo_t found = {0};
        int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (limit_ns ? WNOHANG : 0);
        if (limit_ns) {
            /* Blocked as all signals are here, SIGCHLD waits for us and can't come unnoticed before this. */
            struct timespec limit = {left / 1000000000, left % 1000000000};
            syscall(SYS_rt_sigtimedwait, &child_signal, 0, &limit, MT_MASK_SIZE);
        }
        if (waitid(P_PID, (id_t)j->tid, &found, options) != 0) {
            if (errno != EINTR)
                return -ESRCH;
        } else if (found.si_pid) {
            *status = found.si_status;
            return found.si_code == CLD_TRAPPED || found.si_code == CLD_STOPPED ? 0 : -ESRCH;
        }
        if (limit_ns) {
            int64_t passed = mt_now_ns() - begin;
            if (passed >= MT_PATIENCE * limit_ns || (passed >= limit_ns && is_uninterruptible(j)))
                return -ETIMEDOUT;
            left = limit_ns - passed % limit_ns;
        }
    }
}

static int is_trap(int status) { return status >> 8 == PTRACE_EVENT_STOP; } /* our interrupt, or a group stop */
static int is_syscall(int status) { return status == (SIGTRAP | 0x80); }
/* The signal that a thread is about to receive at this stop, 0 at any other stop. */
static int signal_of(int status) { return is_trap(status) || is_syscall(status) ? 0 : status & 0x7f; }

int mt_seize(mt_job *j) {
    return mt_trace(j, PTRACE_SEIZE, (void *)PTRACE_O_TRACESYSGOOD) == 0 ? MT_INJECT_OK : mt_lost(j, MT_INJECT_SEIZE);
}

static int set_options(const mt_job *j, uintptr_t more) {
    return (int)mt_trace(j, PTRACE_SETOPTIONS, (void *)(PTRACE_O_TRACESYSGOOD | more));
}

/* Only while it is stopped: none of its own calls may get past its filters.  Where we may, even if it has none:
 * another thread could give it one right now. */
int mt_suspend_filters(mt_job *j) {
    j->suspends = set_options(j, OPTION_SUSPEND_SECCOMP) == 0;
    return j->suspends || !j->filtered ? 0 : -1;
}

int mt_await_trap(mt_job *j) {
    int64_t deadline = mt_now_ns() + j->limit_ns;
    for (;;) {
        int status, error = mt_wait_stop(j, j->limit_ns, &status);
        if (error)
            return mt_fail(j, error == -ESRCH ? MT_INJECT_GONE : MT_INJECT_STOP, -error);
        if (is_trap(status)) {
            j->stopped = (status & 0x7f) != SIGTRAP;
            return MT_INJECT_OK;
        }
        /* A signal was already on its way: it goes on to its handler.  This stop took our interrupt with it,
         * so we ask again, but in a storm of signals not for ever. */
        int late = mt_now_ns() >= deadline;
        if (!late && mt_trace(j, PTRACE_INTERRUPT, 0) != 0)
            return mt_lost(j, MT_INJECT_STOP);
        if (mt_trace(j, PTRACE_CONT, (void *)(uintptr_t)signal_of(status)) != 0)
            return mt_lost(j, MT_INJECT_STOP);
        if (late)
            return mt_fail(j, MT_INJECT_STOP, ETIMEDOUT);
    }
}

int mt_resume(mt_job *j, int free) {
    int signal = 0;
    for (;;) {
        int status, late;
        if (mt_trace(j, PTRACE_SYSCALL, (void *)(uintptr_t)signal) != 0)
            return errno;
        late = mt_wait_stop(j, j->limit_ns, &status);
        if (late == -ETIMEDOUT) {
            if (mt_trace(j, PTRACE_INTERRUPT, 0) != 0)
                return errno;
            late = mt_wait_stop(j, 0, &status) == 0 ? 1 : -ESRCH;
        }
        if (late < 0)
            return ESRCH;
        if (is_syscall(status))
            return 0;
        signal = signal_of(status);
        if (late && !signal)
            return ETIMEDOUT;
        if (!free && signal != 0 && signal != SIGSTOP) /* all others are blocked: a fault in borrowed code */
            return EFAULT;
    }
}

int mt_write_mask(const mt_job *j, uint64_t mask) {
    return (int)ptrace(PTRACE_SETSIGMASK, j->tid, (void *)MT_MASK_SIZE, &mask);
}

int mt_read_mask(const mt_job *j, uint64_t *mask) {
    return (int)ptrace(PTRACE_GETSIGMASK, j->tid, (void *)MT_MASK_SIZE, mask);
}

int mt_let_go(const mt_job *j, int before_call) {
    if (!before_call)
        return (int)mt_trace(j, PTRACE_DETACH, 0);
    /* PTRACE_DETACH leaves a thread with the mark that a signal is there: epoll_wait, about to begin, would say EINTR.
     * The end of this process detaches it without, but later: until then its signals wait. */
    if (j->suspends && set_options(j, 0) != 0)
        return -1;
    return (int)mt_trace(j, PTRACE_CONT, 0);
}

#endif
