/*
 * One system call inside a stopped thread of another process, and the thread as it was.
 *
 * Stops are those of PTRACE_SYSCALL and PTRACE_INTERRUPT.  PTRACE_SINGLESTEP would take fewer, but each
 * step forces a SIGTRAP on the thread, and forcing a signal that is blocked or ignored resets its handler to
 * SIG_DFL and unblocks it: a lasting change to the target.
 */
#include "inject.h"

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
#include "uffd.h"

/* Names that the C library of an old distribution lacks. */
#define GET_RSEQ_CONFIGURATION 0x420f
#define GET_SYSCALL_USER_DISPATCH 0x4211
#define OPTION_SUSPEND_SECCOMP (1 << 21)
#define NR_PIDFD_SEND_SIGNAL 424
#define NR_PIDFD_OPEN 434
#define NR_PIDFD_GETFD 438
#define PIDFD_OF_THREAD O_EXCL

#define MASK_SIZE 8 /* bytes of a kernel sigset_t */

int mt_fail(mt_job *j, int stage, int error) {
    j->shared->result.error = error;
    return stage;
}

/* A failed ptrace request: ESRCH means that the thread is no more. */
static int lost(mt_job *j, int stage) { return mt_fail(j, errno == ESRCH ? MT_INJECT_GONE : stage, errno); }

static long trace(const mt_job *j, int request, void *data) {
    return ptrace(request, j->tid, (void *)0, data);
}

static int read_regs(const mt_job *j, mt_regs *regs, size_t *size) {
    struct iovec io = {regs, sizeof *regs};
    if (ptrace(PTRACE_GETREGSET, j->tid, (void *)NT_PRSTATUS, &io) != 0)
        return -1;
    *size = io.iov_len;
    return 0;
}

static int write_regs(const mt_job *j, const mt_regs *regs) {
    struct iovec io = {(void *)regs, sizeof *regs};
    return (int)ptrace(PTRACE_SETREGSET, j->tid, (void *)NT_PRSTATUS, &io);
}

static int read_memory(const mt_job *j, uint64_t at, void *to, size_t size) {
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

/* Waits for the thread to stop; limit_ns 0: for as long as it takes.  It sleeps rather than spins: on one
 * processor the thread could not run, on two it would be woken on another one, which takes longer. */
static int wait_stop(const mt_job *j, int64_t limit_ns, int *status) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    int64_t begin = limit_ns ? mt_now_ns() : 0;
    for (;;) {
        pid_t got = waitpid(j->tid, status, __WALL | (limit_ns ? WNOHANG : 0));
        if (got == j->tid)
            return WIFSTOPPED(*status) ? 0 : -ESRCH;
        if (got < 0 && errno != EINTR)
            return -ESRCH;
        if (limit_ns) {
            int64_t passed = mt_now_ns() - begin, left = limit_ns - passed % limit_ns;
            if (passed >= MT_PATIENCE * limit_ns || (passed >= limit_ns && is_uninterruptible(j)))
                return -ETIMEDOUT;
            /* Blocked as all signals are here, SIGCHLD waits for us and can't come unnoticed before this. */
            struct timespec limit = {left / 1000000000, left % 1000000000};
            syscall(SYS_rt_sigtimedwait, &child_signal, 0, &limit, MASK_SIZE);
        }
    }
}

static int is_trap(int status) { return status >> 16 == PTRACE_EVENT_STOP; } /* our interrupt, or a group stop */
static int is_syscall(int status) { return WSTOPSIG(status) == (SIGTRAP | 0x80); }
/* The signal that a thread is about to receive at this stop, 0 at any other stop. */
static int signal_of(int status) { return is_trap(status) || is_syscall(status) ? 0 : WSTOPSIG(status); }

static int seize(mt_job *j) {
    /* Where we may, filters are suspended even if there is none: another thread could set one right now. */
    uintptr_t options = PTRACE_O_TRACESYSGOOD;
    if (trace(j, PTRACE_SEIZE, (void *)(options | OPTION_SUSPEND_SECCOMP)) == 0)
        return MT_INJECT_OK;
    if (errno == ESRCH || trace(j, PTRACE_SEIZE, (void *)options) != 0)
        return lost(j, MT_INJECT_SEIZE);
    return j->filtered ? mt_fail(j, MT_INJECT_SECCOMP, EPERM) : MT_INJECT_OK;
}

/* Stops the thread where the kernel is about to return it to its program. */
static int stop(mt_job *j) {
    /* Numbers are reused: is this still a thread of the process that the pidfd holds? */
    if (syscall(NR_PIDFD_SEND_SIGNAL, j->pidfd, 0, 0, 0) != 0 && errno == ESRCH)
        return mt_fail(j, MT_INJECT_GONE, ESRCH);
    if (syscall(SYS_tgkill, j->pid, j->tid, 0) != 0 && errno == ESRCH)
        return mt_fail(j, MT_INJECT_GONE, ESRCH);
    int64_t deadline = mt_now_ns() + j->limit_ns;
    if (trace(j, PTRACE_INTERRUPT, 0) != 0)
        return lost(j, MT_INJECT_STOP);
    for (;;) {
        int status, error = wait_stop(j, j->limit_ns, &status);
        if (error)
            return mt_fail(j, error == -ESRCH ? MT_INJECT_GONE : MT_INJECT_STOP, -error);
        if (is_trap(status))
            return MT_INJECT_OK;
        /* A signal was already on its way: it goes on to its handler.  This stop took our interrupt with it,
         * so we ask again, but in a storm of signals not for ever. */
        int late = mt_now_ns() >= deadline;
        if (!late && trace(j, PTRACE_INTERRUPT, 0) != 0)
            return lost(j, MT_INJECT_STOP);
        if (trace(j, PTRACE_CONT, (void *)(uintptr_t)signal_of(status)) != 0)
            return lost(j, MT_INJECT_STOP);
        if (late)
            return mt_fail(j, MT_INJECT_STOP, ETIMEDOUT);
    }
}

/* ---- what the thread gets back ------------------------------------------------------------- */

/* A pending signal that it does not block: then EINTR is the program's own and stays. */
static int has_signal(const mt_job *j) {
    struct { uint64_t from; uint32_t flags; int32_t count; } ask = {0, 0, 16};
    siginfo_t found[16];
    for (ask.flags = 0; ask.flags <= 1; ask.flags++) { /* the thread's own, then the process's */
        long count = ptrace(PTRACE_PEEKSIGINFO, j->tid, &ask, found);
        for (long i = 0; i < count; i++)
            if (!(j->mask & 1ull << (found[i].si_signo - 1)))
                return 1;
    }
    return 0;
}

/* A thread stopped inside a restartable sequence (rseq(2)) must begin it anew, as after any preemption.  The
 * kernel sees to that on the way back to the program, but would look at the borrowed address, and forget. */
static void abort_rseq(mt_job *j) {
    struct { uint64_t area; uint32_t size, signature, flags, pad; } config = {0};
    struct { uint32_t version, flags; uint64_t start, length, abort; } section;
    uint64_t pointer;
    if (ptrace(GET_RSEQ_CONFIGURATION, j->tid, (void *)sizeof config, &config) <= 0 || config.area == 0)
        return;
    if (read_memory(j, config.area + 8, &pointer, sizeof pointer) != 0 || pointer == 0)
        return;
    if (read_memory(j, pointer, &section, sizeof section) != 0)
        return;
    if (mt_arch_ip(&j->regs) - section.start < section.length) {
        mt_arch_set_ip(&j->regs, section.abort);
        j->touched = 1;
    }
}

/* Reads what the thread is to get back, with what our stop did to it undone. */
static int save(mt_job *j) {
    size_t size;
    if (read_regs(j, &j->regs, &size) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_compat(&j->regs, size))
        return mt_fail(j, MT_INJECT_COMPAT, 0);
    if (ptrace(PTRACE_GETSIGMASK, j->tid, (void *)MASK_SIZE, &j->mask) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_interrupted(&j->regs) && !has_signal(j)) {
        char code[MT_SYSCALL_SIZE]; /* int 0x80 has other numbers */
        if (read_memory(j, mt_arch_ip(&j->regs) - MT_SYSCALL_SIZE, code, sizeof code) == 0 &&
            memcmp(code, MT_SYSCALL_CODE, MT_SYSCALL_SIZE) == 0) {
            mt_arch_rewind(&j->regs);
            j->touched = 1;
        }
    } else if (!mt_arch_in_syscall(&j->regs)) {
        abort_rseq(j);
    }
    return MT_INJECT_OK;
}

/* What could make the borrowed call go wrong, looked at while nothing is changed yet. */
static int check(mt_job *j) {
    struct { uint64_t mode, selector, offset, length; } dispatch = {0};
    char code[MT_SYSCALL_SIZE];
    if (ptrace(GET_SYSCALL_USER_DISPATCH, j->tid, (void *)sizeof dispatch, &dispatch) == 0 && dispatch.mode)
        return mt_fail(j, MT_INJECT_SECCOMP, EBUSY); /* its system calls go to its own SIGSYS handler */
    if (read_memory(j, j->code, code, sizeof code) != 0 || memcmp(code, MT_SYSCALL_CODE, MT_SYSCALL_SIZE) != 0)
        return mt_fail(j, MT_INJECT_GADGET, EFAULT);
    int untouched = MT_UNTOUCHED;
    if (!atomic_compare_exchange_strong(&j->shared->phase, &untouched, MT_CHANGED))
        return mt_fail(j, MT_INJECT_TIMEOUT, 0);
    return MT_INJECT_OK;
}

/* ---- the call ------------------------------------------------------------------------------- */

/* Goes on until a stop of the wanted kind.  0, or the errno of what came instead; ETIMEDOUT: the thread had
 * not run in all that time (a frozen or starved cgroup), and was stopped where it was. */
static int resume(mt_job *j, int request, int (*wanted)(int), int64_t limit_ns) {
    int signal = 0;
    for (;;) {
        int status, late;
        if (trace(j, request, (void *)(uintptr_t)signal) != 0)
            return errno;
        late = wait_stop(j, limit_ns, &status);
        if (late == -ETIMEDOUT) {
            if (trace(j, PTRACE_INTERRUPT, 0) != 0)
                return errno;
            late = wait_stop(j, 0, &status) == 0 ? 1 : -ESRCH;
        }
        if (late < 0)
            return ESRCH;
        if (wanted(status))
            return 0;
        if (late)
            return ETIMEDOUT;
        signal = signal_of(status);
        if (signal != 0 && signal != SIGSTOP) /* all others are blocked: a fault at the borrowed address */
            return EFAULT;
    }
}

/* Runs number(argument) in the thread.  The interrupt sent at its entry stops it right behind it: in the same
 * place of the kernel as the first stop, from which a system call can be restarted. */
static int call(mt_job *j, long number, uint64_t argument, int64_t *answer) {
    mt_regs regs = j->regs;
    size_t size;
    mt_arch_call(&regs, j->code, number, argument);
    j->touched = 1;
    if (write_regs(j, &regs) != 0)
        return errno;
    int error = resume(j, PTRACE_SYSCALL, is_syscall, j->limit_ns);
    if (error == 0 && trace(j, PTRACE_INTERRUPT, 0) != 0)
        error = errno;
    if (error == 0)
        error = resume(j, PTRACE_CONT, is_trap, 0);
    if (error == 0 && read_regs(j, &regs, &size) != 0)
        error = errno;
    if (error == 0 && mt_arch_ip(&regs) != j->code + MT_SYSCALL_SIZE)
        error = EFAULT;
    *answer = mt_arch_result(&regs);
    return error;
}

static int call_failed(mt_job *j, int error) {
    int stage = error == ESRCH ? MT_INJECT_GONE : error == ETIMEDOUT ? MT_INJECT_STOP : MT_INJECT_GADGET;
    return mt_fail(j, stage, error);
}

/* The thread's own pidfd where the kernel has such (6.9): a leader that has ended has no descriptors left. */
static int fetch(mt_job *j, int remote) {
    int pidfd = j->tid == j->pid ? -1 : (int)syscall(NR_PIDFD_OPEN, j->tid, PIDFD_OF_THREAD);
    return (int)syscall(NR_PIDFD_GETFD, pidfd < 0 ? j->pidfd : pidfd, remote, 0);
}

static int make_uffd(mt_job *j, int *uffd) {
    uint64_t all = ~0ull;
    int64_t remote = -1, closed;
    if (ptrace(PTRACE_SETSIGMASK, j->tid, (void *)MASK_SIZE, &all) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    j->masked = 1;
    int error = call(j, SYS_userfaultfd, UFFD_FLAGS, &remote);
    if (error)
        return call_failed(j, error);
    if (remote < 0)
        return mt_fail(j, MT_INJECT_CALL, (int)-remote);
    *uffd = fetch(j, (int)remote);
    int fetched = *uffd < 0 ? errno : 0;
    error = call(j, SYS_close, (uint64_t)remote, &closed);
    if (error)
        return call_failed(j, error);
    return fetched ? mt_fail(j, MT_INJECT_FETCH, fetched) : MT_INJECT_OK;
}

/* Has the thread got what it is to go on with?  What can only be seen as long as it stands still. */
static int verify(mt_job *j) {
    mt_regs regs;
    size_t size;
    uint64_t mask;
    return read_regs(j, &regs, &size) == 0 && memcmp(&regs, &j->regs, sizeof regs) == 0 &&
           ptrace(PTRACE_GETSIGMASK, j->tid, (void *)MASK_SIZE, &mask) == 0 && mask == j->mask;
}

static int release(mt_job *j) {
    if (j->masked)
        ptrace(PTRACE_SETSIGMASK, j->tid, (void *)MASK_SIZE, &j->mask);
    if (j->touched)
        write_regs(j, &j->regs);
    j->shared->result.verified = verify(j);
    return trace(j, PTRACE_DETACH, 0) == 0 ? 0 : errno;
}

/* The first use of a library function looks it up, the first touch of a page after a fork copies it: neither
 * while the target stands still. */
static void rehearse(const mt_job *j) {
    mt_job nobody = *j;
    char code[MT_SYSCALL_SIZE];
    size_t size;
    int status;
    nobody.tid = 0;
    read_regs(&nobody, &nobody.regs, &size);
    write_regs(&nobody, &nobody.regs);
    read_memory(j, j->code, code, sizeof code);
    waitpid(j->tid, &status, __WALL | WNOHANG);
    syscall(SYS_tgkill, 0, 0, 0);
}

int mt_tracee_make_uffd(mt_job *j, int *uffd) {
    rehearse(j);
    int64_t begin = mt_now_ns();
    int stage = seize(j);
    if (stage == MT_INJECT_OK)
        stage = stop(j);
    if (stage != MT_INJECT_OK)
        return stage; /* it runs: our exit lets go of it */
    stage = save(j);
    if (stage == MT_INJECT_OK)
        stage = check(j);
    if (stage == MT_INJECT_OK)
        stage = make_uffd(j, uffd);
    if (release(j) != 0 && stage == MT_INJECT_OK)
        stage = mt_fail(j, MT_INJECT_GONE, ESRCH);
    j->shared->result.stop_ns = mt_now_ns() - begin;
    return stage;
}

#endif
