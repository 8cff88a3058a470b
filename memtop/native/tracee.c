/*
 * Two system calls inside a stopped thread of another process, and the thread as it was.
 *
 * Stops are those of PTRACE_SYSCALL and PTRACE_INTERRUPT.  PTRACE_SINGLESTEP would take fewer, but each
 * step forces a SIGTRAP on the thread, and forcing a signal that is blocked or ignored resets its handler to
 * SIG_DFL and unblocks it: a lasting change to the target.
 */
#include "stops.h"

#if MT_CAN_INJECT

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"
#include "uffd.h"

/* Names that the C library of an old distribution lacks. */
#define GET_RSEQ_CONFIGURATION 0x420f
#define GET_SYSCALL_USER_DISPATCH 0x4211
#define PIDFD_OF_THREAD O_EXCL

/* Numbers are reused: is this still a thread of the process that the pidfd holds? */
static int is_same(const mt_job *j) {
    return !(syscall(MT_NR_PIDFD_SEND_SIGNAL, j->pidfd, 0, 0, 0) != 0 && errno == ESRCH) &&
           !(syscall(SYS_tgkill, j->pid, j->tid, 0) != 0 && errno == ESRCH);
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
    if (mt_job_read(j, config.area + 8, &pointer, sizeof pointer) != 0 || pointer == 0)
        return;
    if (mt_job_read(j, pointer, &section, sizeof section) != 0)
        return;
    if (mt_arch_ip(&j->regs) - section.start < section.length)
        mt_arch_set_ip(&j->regs, section.abort);
}

/* Did it come into the kernel by `syscall`?  By int 0x80, numbers mean other calls. */
static int by_syscall(const mt_job *j) {
    char code[MT_SYSCALL_SIZE];
    return mt_job_read(j, mt_arch_ip(&j->regs) - MT_SYSCALL_SIZE, code, sizeof code) == 0 &&
           memcmp(code, MT_SYSCALL_CODE, MT_SYSCALL_SIZE) == 0;
}

/* Reads registers and mask, and undoes an EINTR that only our stop made: at once, for if we die, that is what the
 * thread goes on with. */
static int save(mt_job *j) {
    size_t size;
    if (mt_read_regs(j, &j->regs, &size) != 0)
        return mt_lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_compat(&j->regs, size))
        return mt_fail(j, MT_INJECT_COMPAT, 0);
    if (mt_arch_interrupted(&j->regs) && by_syscall(j)) {
        mt_arch_restart(&j->regs);
        if (mt_write_regs(j, &j->regs) != 0)
            return mt_lost(j, MT_INJECT_REGISTERS);
    }
    if (mt_read_mask(j, &j->mask) != 0)
        return mt_lost(j, MT_INJECT_REGISTERS);
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
    if (mt_suspend_filters(j) != 0)
        return mt_fail(j, MT_INJECT_SECCOMP, EPERM);
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

static int resume_failed(mt_job *j, int error) {
    int stage = error == ESRCH ? MT_INJECT_GONE : error == ETIMEDOUT ? MT_INJECT_STOP : MT_INJECT_GADGET;
    return mt_fail(j, stage, error);
}

/* From where it is. */
static int borrow_here(mt_job *j) {
    if (!mt_arch_restarts(&j->regs))
        abort_rseq(j);
    mt_regs regs = j->regs;
    /* What the kernel knows of how much of a timeout is left, rt_sigreturn makes it forget: it would begin anew. */
    if (mt_arch_restarts(&regs))
        mt_arch_rewind(&regs, mt_arch_number(&regs));
    int stage = mt_frame_write(j, &regs);
    if (stage != MT_INJECT_OK)
        return stage;
    regs = j->regs;
    mt_arch_pivot(&regs, j->pivot, j->frame);
    if (mt_write_regs(j, &regs) != 0 || mt_write_mask(j, ~0ull) != 0 || mt_frame_set(j, MT_FRAME_ALONE) != 0)
        return mt_lost(j, MT_INJECT_REGISTERS);
    int error = mt_resume(j, 0);
    return error ? resume_failed(j, error) : MT_INJECT_OK;
}

/* From the entry of the next system call that it makes. */
static int borrow_in_call(mt_job *j) {
    size_t size;
    int64_t number = mt_arch_number(&j->regs);
    int64_t begin = mt_now_ns();
    int restarts = mt_arch_restarts(&j->regs), error = j->stopped ? EAGAIN : mt_resume(j, 1);
    j->free_ns = mt_now_ns() - begin;
    if (error)
        return error == ESRCH ? mt_lost(j, MT_INJECT_GONE) : mt_fail(j, MT_INJECT_STOP, EAGAIN);
    if (mt_read_regs(j, &j->regs, &size) != 0 || mt_read_mask(j, &j->mask) != 0)
        return mt_lost(j, MT_INJECT_REGISTERS);
    if (mt_arch_compat(&j->regs, size) || !by_syscall(j))
        return mt_fail(j, MT_INJECT_COMPAT, 0);
    if (mt_arch_number(&j->regs) != MT_NR_RESTART_SYSCALL)
        number = mt_arch_number(&j->regs);
    else if (!restarts)
        return mt_fail(j, MT_INJECT_STOP, EAGAIN); /* of which call is not known */
    mt_regs regs = j->regs;
    mt_arch_rewind(&regs, number);
    int stage = mt_frame_write(j, &regs);
    if (stage != MT_INJECT_OK)
        return stage;
    regs = j->regs;
    mt_arch_heal(&regs, j->frame);
    return mt_write_regs(j, &regs) == 0 && mt_write_mask(j, ~0ull) == 0 ? MT_INJECT_OK : mt_lost(j, MT_INJECT_REGISTERS);
}

/* Runs number(argument) in the thread, from the entry of rt_sigreturn to its end. */
static int call(mt_job *j, long number, uint64_t argument, int64_t *answer) {
    mt_regs regs = j->regs;
    size_t size;
    mt_arch_call(&regs, j->code, j->frame, number, argument);
    if (mt_write_regs(j, &regs) != 0)
        return errno;
    int error = mt_resume(j, 0);
    if (error == 0 && mt_read_regs(j, &regs, &size) != 0)
        error = errno;
    if (error == 0 && mt_arch_ip(&regs) != j->code + MT_SYSCALL_SIZE)
        error = EFAULT;
    *answer = mt_arch_result(&regs);
    return error;
}

/* The thread's own pidfd where the kernel has such (6.9): a leader that has ended has no descriptors left. */
static int fetch(const mt_job *j, int remote) {
    int own = j->tid == j->pid ? -1 : (int)syscall(MT_NR_PIDFD_OPEN, j->tid, PIDFD_OF_THREAD);
    int fd = (int)syscall(MT_NR_PIDFD_GETFD, own < 0 ? j->pidfd : own, remote, 0), error = errno;
    if (own >= 0)
        close(own);
    errno = error;
    return fd;
}

/* From the entry of rt_sigreturn to the end of userfaultfd(). */
static int make_uffd(mt_job *j, int *uffd) {
    int64_t remote = -1;
    int error = call(j, SYS_userfaultfd, UFFD_FLAGS, &remote);
    if (error)
        return resume_failed(j, error);
    j->remote = (int)remote;
    if (remote < 0)
        return mt_fail(j, MT_INJECT_CALL, (int)-remote);
    *uffd = fetch(j, (int)remote);
    return *uffd < 0 ? mt_fail(j, MT_INJECT_FETCH, errno) : MT_INJECT_OK;
}

/* From there: the thread is to close its descriptor, and then to give itself back, all on its own. */
static int begin_close(mt_job *j) {
    mt_regs regs = j->regs;
    if (j->remote < 0)
        return 0;
    mt_arch_call(&regs, j->code, j->frame, SYS_close, (uint64_t)j->remote);
    mt_arch_begin(&regs);
    return mt_write_regs(j, &regs);
}

/* From there: with a stop where the kernel restarts a call, as the first one was. */
static int give_back_here(mt_job *j) {
    mt_regs regs = j->regs;
    if (j->remote >= 0 && (begin_close(j) != 0 || mt_resume(j, 0) != 0))
        return -1;
    if (mt_trace(j, PTRACE_INTERRUPT, 0) != 0 || mt_trace(j, PTRACE_CONT, 0) != 0 || mt_await_trap(j) != MT_INJECT_OK)
        return -1;
    mt_arch_pivot(&regs, j->pivot, j->frame);
    if (mt_frame_set(j, MT_FRAME_SHARED) != 0 || mt_write_regs(j, &regs) != 0 || mt_write_mask(j, j->mask) != 0)
        return -1;
    return mt_write_regs(j, &j->regs) != 0 || mt_frame_set(j, MT_FRAME_ALONE) != 0 ? -1 : 0;
}

/* From there: with a stop at the entry of rt_sigreturn, which becomes the call that it was about to make. */
static int give_back_in_call(mt_job *j) {
    int error = begin_close(j);
    for (int left = j->remote >= 0 ? 3 : 1; error == 0 && left > 0; left--) /* close begins, it ends, rt_sigreturn */
        error = mt_resume(j, 0);
    return error || mt_write_mask(j, j->mask) != 0 || mt_write_regs(j, &j->regs) != 0 ? -1 : 0;
}

/* From there: on its own. */
static int leave_to_itself(mt_job *j) {
    j->shared->remote = j->remote;
    return begin_close(j);
}

/*
 * At every moment of this we may be killed, and then the thread runs on with what it has got so far.
 *
 *   where it is                                      at the entry of a call of its own
 *   nothing: the kernel restarts its call            nothing: it makes that call
 *   `leave; ret` to rt_sigreturn.  A signal that     rt_sigreturn in its place
 *   comes first is handled where it would have
 *   been, and returns to here
 *   all signals blocked: rt_sigreturn brings the mask, too, from now on
 *   stopped at the entry of rt_sigreturn
 *   userfaultfd in its place, then `ret` to `pop rax; ret` and rt_sigreturn
 *   close likewise; from its own code, that is the way it goes, whether we live or not
 *   `leave; ret` again, then its mask
 *   its registers: the kernel restarts its call      its mask, then its call in place of rt_sigreturn
 *
 * At an entry no signal is handled before the call was made.  A seccomp filter, suspended as long as we live, was
 * asked about all three calls.
 */
static int borrow(mt_job *j, int *uffd) {
    int exactly = mt_arch_restarts(&j->regs) || j->stopped; /* rt_sigreturn is not quite the same as a restart */
    int stage = j->pivot ? borrow_here(j) : borrow_in_call(j);
    if (stage == MT_INJECT_OK)
        stage = make_uffd(j, uffd);
    if (stage != MT_INJECT_OK && stage != MT_INJECT_CALL && stage != MT_INJECT_FETCH)
        return stage;
    int error = !j->pivot ? give_back_in_call(j) : exactly ? give_back_here(j) : leave_to_itself(j);
    return error ? mt_lost(j, MT_INJECT_GONE) : stage;
}

/* Has the thread got what it is to go on with?  Only where we gave it back: not where it does that itself. */
static int verify(mt_job *j) {
    mt_regs regs;
    size_t size;
    uint64_t mask;
    return mt_read_regs(j, &regs, &size) == 0 && memcmp(&regs, &j->regs, sizeof regs) == 0 &&
           ptrace(PTRACE_GETSIGMASK, j->tid, (void *)sizeof mask, &mask) == 0 && mask == j->mask;
}

/* The first use of a library function looks it up, the first touch of a page after a fork copies it: neither
 * while the target stands still. */
static void rehearse(const mt_job *j) {
    mt_job nobody = *j;
    char code[MT_CALL_SIZE];
    size_t size;
    int status;
    nobody.tid = 0;
    mt_read_regs(&nobody, &nobody.regs, &size);
    mt_write_regs(&nobody, &nobody.regs);
    mt_job_read(j, j->code, code, sizeof code);
    mt_wait_stop(&nobody, 1, &status);
    syscall(SYS_tgkill, 0, 0, 0);
}

int mt_tracee_make_uffd(mt_job *j, int *uffd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/pagemap", j->pid, j->tid);
    j->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    rehearse(j);
    mt_await_moment(j->pid, j->tid);
    mt_turn_begin(j);
    int64_t begin = mt_now_ns();
    int stage = mt_seize(j);
    if (stage == MT_INJECT_OK)
        stage = mt_trace(j, PTRACE_INTERRUPT, 0) == 0 ? mt_await_trap(j) : mt_lost(j, MT_INJECT_STOP);
    if (stage != MT_INJECT_OK)
        return stage; /* it runs: our exit lets go of it */
    stage = save(j);
    if (stage == MT_INJECT_OK)
        stage = check(j);
    if (stage == MT_INJECT_OK)
        stage = borrow(j, uffd);
    if (stage == MT_INJECT_OK)
        j->shared->result.verified = verify(j);
    /* Wherever it stopped, if something went wrong: it goes on, or gives itself back. */
    int64_t number = mt_arch_number(&j->regs);
    int before_call = !j->pivot && (mt_arch_notices(number) || mt_arch_may_notice(number));
    if (mt_let_go(j, before_call) != 0 && stage == MT_INJECT_OK)
        stage = mt_fail(j, MT_INJECT_GONE, ESRCH);
    j->shared->result.stop_ns = mt_now_ns() - begin - j->free_ns;
    j->runs = 1;
    j->detached = !before_call;
    return stage;
}

#endif
