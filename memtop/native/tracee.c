/*
 * Two system calls inside a stopped thread of another process, and the thread as it was.
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
#include <stdio.h>
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

int mt_read_memory(const mt_job *j, uint64_t at, void *to, size_t size) {
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
static int wait_stop(const mt_job *j, int64_t limit_ns, int *status) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    int64_t begin = limit_ns ? mt_now_ns() : 0;
    for (;;) {
        siginfo_t found = {0};
        int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (limit_ns ? WNOHANG : 0);
        if (waitid(P_PID, (id_t)j->tid, &found, options) != 0) {
            if (errno != EINTR)
                return -ESRCH;
        } else if (found.si_pid) {
            *status = found.si_status;
            return found.si_code == CLD_TRAPPED || found.si_code == CLD_STOPPED ? 0 : -ESRCH;
        }
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

static int is_trap(int status) { return status >> 8 == PTRACE_EVENT_STOP; } /* our interrupt, or a group stop */
static int is_syscall(int status) { return status == (SIGTRAP | 0x80); }
/* The signal that a thread is about to receive at this stop, 0 at any other stop. */
static int signal_of(int status) { return is_trap(status) || is_syscall(status) ? 0 : status & 0x7f; }

static int seize(mt_job *j) {
    /* Where we may, filters are suspended even if there is none: another thread could set one right now. */
    uintptr_t options = PTRACE_O_TRACESYSGOOD;
    j->suspends = trace(j, PTRACE_SEIZE, (void *)(options | OPTION_SUSPEND_SECCOMP)) == 0;
    if (j->suspends)
        return MT_INJECT_OK;
    if (errno == ESRCH || trace(j, PTRACE_SEIZE, (void *)options) != 0)
        return lost(j, MT_INJECT_SEIZE);
    return j->filtered ? mt_fail(j, MT_INJECT_SECCOMP, EPERM) : MT_INJECT_OK;
}

/* Numbers are reused: is this still a thread of the process that the pidfd holds? */
static int is_same(const mt_job *j) {
    return !(syscall(NR_PIDFD_SEND_SIGNAL, j->pidfd, 0, 0, 0) != 0 && errno == ESRCH) &&
           !(syscall(SYS_tgkill, j->pid, j->tid, 0) != 0 && errno == ESRCH);
}

/* Stops the thread where the kernel is about to return it to its program. */
static int stop(mt_job *j) {
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

/* Goes on until a stop of the wanted kind.  0, or the errno of what came instead; ETIMEDOUT: the thread had
 * not run in all that time (a frozen or starved cgroup), and was stopped where it was. */
static int resume(mt_job *j, int free) {
    int signal = 0;
    for (;;) {
        int status, late;
        if (trace(j, PTRACE_SYSCALL, (void *)(uintptr_t)signal) != 0)
            return errno;
        late = wait_stop(j, j->limit_ns, &status);
        if (late == -ETIMEDOUT) {
            if (trace(j, PTRACE_INTERRUPT, 0) != 0)
                return errno;
            late = wait_stop(j, 0, &status) == 0 ? 1 : -ESRCH;
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

/* ---- where the thread is in its own program ------------------------------------------------------ */

/* A thread stopped inside a restartable sequence (rseq(2)) must begin it anew, as after any preemption.  The
 * kernel sees to that on the way back to the program, but would look at the borrowed address, and forget. */
static void abort_rseq(mt_job *j) {
    struct { uint64_t area; uint32_t size, signature, flags, pad; } config = {0};
    struct { uint32_t version, flags; uint64_t start, length, abort; } section;
    uint64_t pointer;
    if (ptrace(GET_RSEQ_CONFIGURATION, j->tid, (void *)sizeof config, &config) <= 0 || config.area == 0)
        return;
    if (mt_read_memory(j, config.area + 8, &pointer, sizeof pointer) != 0 || pointer == 0)
        return;
    if (mt_read_memory(j, pointer, &section, sizeof section) != 0)
        return;
    if (mt_arch_ip(&j->regs) - section.start < section.length)
        mt_arch_set_ip(&j->regs, section.abort);
}

/* Did it come into the kernel by `syscall`?  By int 0x80, numbers mean other calls. */
static int by_syscall(const mt_job *j) {
    char code[MT_SYSCALL_SIZE];
    return mt_read_memory(j, mt_arch_ip(&j->regs) - MT_SYSCALL_SIZE, code, sizeof code) == 0 &&
           memcmp(code, MT_SYSCALL_CODE, MT_SYSCALL_SIZE) == 0;
}

/* Reads registers and mask, and undoes an EINTR that only our stop made: at once, for if we die, that is what the
 * thread goes on with. */
static int save(mt_job *j) {
    size_t size;
    if (read_regs(j, &j->regs, &size) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_compat(&j->regs, size))
        return mt_fail(j, MT_INJECT_COMPAT, 0);
    j->interrupted = mt_arch_interrupted(&j->regs) && by_syscall(j);
    if (j->interrupted) {
        mt_arch_restart(&j->regs);
        if (write_regs(j, &j->regs) != 0)
            return lost(j, MT_INJECT_REGISTERS);
    }
    if (ptrace(PTRACE_GETSIGMASK, j->tid, (void *)MASK_SIZE, &j->mask) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    return MT_INJECT_OK;
}

/* What could make the borrowed calls go wrong, looked at while nothing is changed yet. */
static int check(mt_job *j) {
    struct { uint64_t mode, selector, offset, length; } dispatch = {0};
    char found[MT_CALL_SIZE + MT_LOAD_SIZE + MT_PIVOT_SIZE];
    static const char wanted[] = MT_CALL_CODE MT_LOAD_CODE MT_PIVOT_CODE;
    size_t size = sizeof found - (j->pivot ? 0 : MT_PIVOT_SIZE);
    struct iovec here = {found, size}, there[] = {{(void *)(uintptr_t)j->code, MT_CALL_SIZE},
                                                  {(void *)(uintptr_t)j->load, MT_LOAD_SIZE},
                                                  {(void *)(uintptr_t)j->pivot, MT_PIVOT_SIZE}};
    if (!is_same(j))
        return mt_fail(j, MT_INJECT_GONE, ESRCH);
    if (ptrace(GET_SYSCALL_USER_DISPATCH, j->tid, (void *)sizeof dispatch, &dispatch) == 0 && dispatch.mode)
        return mt_fail(j, MT_INJECT_SECCOMP, EBUSY); /* its system calls go to its own SIGSYS handler */
    if (j->filtered && !mt_filters_harmless(j->tid))
        return mt_fail(j, MT_INJECT_SECCOMP, EACCES);
    if (process_vm_readv(j->tid, &here, 1, there, j->pivot ? 3 : 2, 0) != (ssize_t)size ||
        memcmp(found, wanted, size) != 0)
        return mt_fail(j, MT_INJECT_GADGET, EFAULT);
    int untouched = MT_UNTOUCHED;
    if (!atomic_compare_exchange_strong(&j->shared->phase, &untouched, MT_CHANGED))
        return mt_fail(j, MT_INJECT_TIMEOUT, 0);
    return MT_INJECT_OK;
}

/* ---- borrowing it -------------------------------------------------------------------------------- */

static int write_mask(const mt_job *j, uint64_t mask) {
    return (int)ptrace(PTRACE_SETSIGMASK, j->tid, (void *)MASK_SIZE, &mask);
}

static int resume_failed(mt_job *j, int error) {
    int stage = error == ESRCH ? MT_INJECT_GONE : error == ETIMEDOUT ? MT_INJECT_STOP : MT_INJECT_GADGET;
    return mt_fail(j, stage, error);
}

/* From a call that restarts: lets the thread make it again, and stops it at the entry. */
static int borrow_in_call(mt_job *j) {
    size_t size;
    int64_t number = mt_arch_number(&j->regs);
    int restarts = mt_arch_restarts(&j->regs), error = resume(j, 1);
    if (error)
        return error == ESRCH ? lost(j, MT_INJECT_GONE) : mt_fail(j, MT_INJECT_STOP, error);
    if (read_regs(j, &j->regs, &size) != 0 ||
        ptrace(PTRACE_GETSIGMASK, j->tid, (void *)MASK_SIZE, &j->mask) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_compat(&j->regs, size) || !by_syscall(j))
        return mt_fail(j, MT_INJECT_COMPAT, 0);
    if (mt_arch_number(&j->regs) != MT_NR_RESTART_SYSCALL)
        number = mt_arch_number(&j->regs);
    else if (!restarts)
        return mt_fail(j, MT_INJECT_STOP, EAGAIN); /* of which call is not known */
    mt_regs regs = j->regs;
    /* What the kernel knows of how much of a timeout is left, rt_sigreturn makes it forget: it would begin anew. */
    mt_arch_rewind(&regs, number);
    int stage = mt_frame_write(j, &regs);
    if (stage != MT_INJECT_OK)
        return stage;
    regs = j->regs;
    mt_arch_heal(&regs, j->frame);
    j->in_call = 1;
    return write_regs(j, &regs) == 0 && write_mask(j, ~0ull) == 0 ? MT_INJECT_OK : lost(j, MT_INJECT_REGISTERS);
}

/* From anywhere else in its program, and from a call that says EINTR: a tracer's end at its entry would make it. */
static int borrow_in_program(mt_job *j) {
    if (j->interrupted)
        mt_arch_rewind(&j->regs, mt_arch_number(&j->regs));
    else
        abort_rseq(j);
    int stage = mt_frame_write(j, &j->regs);
    if (stage != MT_INJECT_OK)
        return stage;
    mt_regs regs = j->regs;
    mt_arch_pivot(&regs, j->pivot, j->frame);
    if (write_regs(j, &regs) != 0 || write_mask(j, ~0ull) != 0)
        return lost(j, MT_INJECT_REGISTERS);
    int error = resume(j, 0);
    return error ? resume_failed(j, error) : MT_INJECT_OK;
}

/* Runs number(argument) in the thread, from the entry of rt_sigreturn to its end. */
static int call(mt_job *j, long number, uint64_t argument, int64_t *answer) {
    mt_regs regs = j->regs;
    size_t size;
    mt_arch_call(&regs, j->code, j->frame, number, argument);
    if (write_regs(j, &regs) != 0)
        return errno;
    int error = resume(j, 0);
    if (error == 0 && read_regs(j, &regs, &size) != 0)
        error = errno;
    if (error == 0 && mt_arch_ip(&regs) != j->code + MT_SYSCALL_SIZE)
        error = EFAULT;
    *answer = mt_arch_result(&regs);
    return error;
}

/* The thread's own pidfd where the kernel has such (6.9): a leader that has ended has no descriptors left. */
static int fetch(mt_job *j, int remote) {
    int pidfd = j->tid == j->pid ? -1 : (int)syscall(NR_PIDFD_OPEN, j->tid, PIDFD_OF_THREAD);
    return (int)syscall(NR_PIDFD_GETFD, pidfd < 0 ? j->pidfd : pidfd, remote, 0);
}

/* From the entry of rt_sigreturn to its next one. */
static int make_uffd(mt_job *j, int *uffd) {
    int64_t remote = -1, closed;
    int error = call(j, SYS_userfaultfd, UFFD_FLAGS, &remote);
    if (error)
        return resume_failed(j, error);
    if (remote >= 0)
        *uffd = fetch(j, (int)remote);
    int fetched = remote < 0 ? 0 : *uffd < 0 ? errno : 0;
    error = resume(j, 0);
    if (error == 0 && remote >= 0)
        error = call(j, SYS_close, (uint64_t)remote, &closed);
    if (error == 0 && remote >= 0)
        error = resume(j, 0);
    if (error)
        return resume_failed(j, error);
    if (remote < 0)
        return mt_fail(j, MT_INJECT_CALL, (int)-remote);
    return fetched ? mt_fail(j, MT_INJECT_FETCH, fetched) : MT_INJECT_OK;
}

/* At the entry of rt_sigreturn: the thread makes its own call instead, as it was about to do. */
static int give_call_back(mt_job *j) {
    return write_mask(j, j->mask) == 0 && write_regs(j, &j->regs) == 0 ? MT_INJECT_OK : lost(j, MT_INJECT_REGISTERS);
}

/* Lets go of it, wherever it stopped.  Not PTRACE_DETACH, which leaves a thread with the mark that a signal is
 * there: epoll_wait, about to begin, would say EINTR.  The end of this process detaches it without. */
static int let_go(const mt_job *j) {
    if (j->suspends && trace(j, PTRACE_SETOPTIONS, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD) != 0)
        return -1;
    return (int)trace(j, PTRACE_CONT, 0);
}

/*
 * At every moment of this we may be killed, and then the thread runs on with what it has got so far.
 *
 *   at the entry of a call of its own              at any other place
 *   nothing: it makes that call                    nothing
 *   rt_sigreturn in its place                      `leave; ret` to rt_sigreturn.  A signal that comes first is
 *                                                  handled where it would have been, and returns to here
 *   all signals blocked: rt_sigreturn brings the mask, too, here and from now on
 *                                                  and stopped at the entry of rt_sigreturn
 *   userfaultfd in its place: that, then `ret` to `pop rax; ret` and rt_sigreturn
 *   close likewise
 *   (giving back) its mask: rt_sigreturn           nothing: rt_sigreturn it is
 *   its registers: it makes the call
 *
 * At an entry no signal is handled before the call was made.  A seccomp filter, suspended as long as we live, was
 * asked about all three calls.
 */
static int borrow(mt_job *j, int *uffd) {
    int in_call = !j->pivot || (mt_arch_restarts(&j->regs) && !j->interrupted);
    int stage = in_call ? borrow_in_call(j) : borrow_in_program(j);
    if (stage != MT_INJECT_OK)
        return stage;
    stage = make_uffd(j, uffd);
    int error = j->shared->result.error, ready = stage == MT_INJECT_OK || stage == MT_INJECT_CALL || stage == MT_INJECT_FETCH;
    if (ready && j->in_call && give_call_back(j) != MT_INJECT_OK)
        return MT_INJECT_GONE;
    return mt_fail(j, stage, error);
}

/* The first use of a library function looks it up, the first touch of a page after a fork copies it: neither
 * while the target stands still. */
static void rehearse(const mt_job *j) {
    mt_job nobody = *j;
    char code[MT_CALL_SIZE];
    size_t size;
    int status;
    nobody.tid = 0;
    read_regs(&nobody, &nobody.regs, &size);
    write_regs(&nobody, &nobody.regs);
    mt_read_memory(j, j->code, code, sizeof code);
    wait_stop(&nobody, 1, &status);
    syscall(SYS_tgkill, 0, 0, 0);
}

int mt_tracee_make_uffd(mt_job *j, int *uffd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/pagemap", j->pid, j->tid);
    j->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    rehearse(j);
    mt_await_moment(j->pid, j->tid);
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
        stage = borrow(j, uffd);
    /* Wherever it stopped, if something went wrong: it goes on, or gives itself back. */
    if (let_go(j) != 0 && stage == MT_INJECT_OK)
        stage = mt_fail(j, MT_INJECT_GONE, ESRCH);
    j->shared->result.stop_ns = mt_now_ns() - begin;
    return stage;
}

#endif
