/*
 * All threads of a process stopped for a moment, so that reading and clearing soft-dirty bits is one step.
 *
 * A helper process traces them.  When it ends (it was told to, its time is up, memtop or it was killed) the
 * kernel lets them go on: a stop by PTRACE_INTERRUPT, unlike one by SIGSTOP, ends with its tracer.
 */
#include "inject.h"

#if !MT_CAN_INJECT

mt_freeze *mt_freeze_begin(int pid, int timeout_ms, mt_freeze_result *out) {
    *out = (mt_freeze_result){.stage = MT_FREEZE_ARCH};
    return 0;
}

void mt_freeze_end(mt_freeze *freeze, mt_freeze_result *out) {}

#else

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

#define MASK_SIZE 8  /* bytes of a kernel sigset_t */
#define PATIENCE 5   /* as often the limit for a thread that does not wait in the kernel */
#define MORE 64      /* threads that may come while the first are being stopped */
#define HOLD_MS 2000 /* memtop itself may be stopped (Ctrl-Z): the target must not wait for that */

typedef struct {
    int tid, stopped;
    int signal; /* that it was about to receive */
} thread;

struct mt_freeze {
    int pid, helper, socket, peer;
    int64_t limit_ns;
    mt_freeze_result result;
    size_t count, room, bytes;
    thread threads[];
};

static int fail(mt_freeze *f, int stage, int error, int tid) {
    f->result.stage = stage;
    f->result.error = error;
    f->result.tid = tid;
    return -1;
}

/* The letter of proc_pid_stat(5), X if there is no such thread any more. */
static char state_of(const mt_freeze *f, int tid) {
    char text[1024];
    const char *name_end = mt_read_task(f->pid, tid, "stat", text, sizeof text) < 0 ? 0 : strrchr(text, ')');
    return name_end ? name_end[2] : 'X';
}

/* ---- one thread --------------------------------------------------------------------------------- */

/* Our stop makes some system calls return EINTR (arch_*.h), where others go on by themselves: these will, too. */
static int mend(mt_freeze *f, const thread *t) {
    mt_regs regs;
    struct iovec io = {&regs, sizeof regs};
    if (ptrace(PTRACE_GETREGSET, t->tid, (void *)NT_PRSTATUS, &io) != 0)
        return errno == ESRCH ? 0 : fail(f, MT_FREEZE_STOP, errno, t->tid);
    if (mt_arch_compat(&regs, io.iov_len))
        return fail(f, MT_FREEZE_COMPAT, 0, t->tid);
    if (!mt_arch_interrupted(&regs))
        return 0;
    mt_arch_restart(&regs);
    if (ptrace(PTRACE_SETREGSET, t->tid, (void *)NT_PRSTATUS, &io) != 0 && errno != ESRCH)
        return fail(f, MT_FREEZE_STOP, errno, t->tid);
    return 0;
}

/* WNOWAIT leaves a signal that the thread was about to receive with the thread, should we be killed now. */
static int wait_stop(mt_freeze *f, thread *t, int64_t deadline) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    for (int patient = 0;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)t->tid, &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL) != 0)
            return errno == ECHILD ? 0 : fail(f, MT_FREEZE_STOP, errno, t->tid);
        if (info.si_pid && info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED)
            return 0; /* it has ended */
        if (info.si_pid) {
            t->stopped = 1;
            t->signal = info.si_status >> 8 == PTRACE_EVENT_STOP ? 0 : info.si_status & 0x7f;
            return t->signal ? 0 : mend(f, t);
        }
        int64_t left = deadline - mt_now_ns();
        if (left <= 0 && !patient && state_of(f, t->tid) != 'D') { /* it is only short of a processor */
            left += (PATIENCE - 1) * f->limit_ns;
            deadline += (PATIENCE - 1) * f->limit_ns;
            patient = 1;
        }
        if (left <= 0)
            return fail(f, MT_FREEZE_STOP, ETIMEDOUT, t->tid);
        /* Blocked as all signals are here, SIGCHLD can't come unnoticed before this. */
        struct timespec limit = {left / 1000000000, left % 1000000000};
        syscall(SYS_rt_sigtimedwait, &child_signal, 0, &limit, MASK_SIZE);
    }
}

/* ---- all of them -------------------------------------------------------------------------------- */

static int known(const mt_freeze *f, int tid) {
    for (size_t i = f->count; i-- > 0;)
        if (f->threads[i].tid == tid)
            return 1;
    return 0;
}

static int seize(mt_freeze *f, int tid) {
    if (f->count == f->room)
        return fail(f, MT_FREEZE_CROWD, 0, tid);
    if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) {
        int error = errno; /* EPERM for a main thread that has ended: it stays in the list as long as others run */
        return error == ESRCH || strchr("ZX", state_of(f, tid)) ? 0 : fail(f, MT_FREEZE_SEIZE, error, tid);
    }
    f->threads[f->count++] = (thread){.tid = tid};
    ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    return 0;
}

/* Seizes and interrupts the threads that are new in /proc/PID/task; how many, or -1. No opendir: it allocates. */
static int seize_new(mt_freeze *f, int directory) {
    struct entry { uint64_t inode, offset; uint16_t length; uint8_t type; char name[]; } *e;
    char buffer[4096] __attribute__((aligned(8)));
    size_t before = f->count;
    lseek(directory, 0, SEEK_SET);
    for (long got; (got = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0;)
        for (long at = 0; at < got; at += e->length) {
            e = (struct entry *)(buffer + at);
            int tid = atoi(e->name);
            if (tid > 0 && !known(f, tid) && seize(f, tid) != 0)
                return -1;
        }
    return (int)(f->count - before);
}

/* Only running threads make new ones: when all that are known stand still and none is new, all stand still. */
static int stop_all(mt_freeze *f, int directory) {
    int64_t deadline = mt_now_ns() + f->limit_ns;
    for (size_t done = 0;;) {
        int fresh = seize_new(f, directory);
        if (fresh <= 0)
            return fresh;
        for (; done < f->count; done++)
            if (wait_stop(f, &f->threads[done], deadline) != 0)
                return -1;
    }
}

static void let_go(mt_freeze *f) {
    for (size_t i = 0; i < f->count; i++) {
        const thread *t = &f->threads[i];
        if (t->stopped)
            ptrace(PTRACE_DETACH, t->tid, 0, (void *)(uintptr_t)t->signal);
    } /* a thread that never stopped is let go by our end */
}

static void helper(mt_freeze *f, int directory) {
    setsid(); /* a Ctrl-C is for memtop, not for us */
    mt_child_close_all_but(f->peer, directory);
    signal(SIGCHLD, SIG_DFL); /* ignored ones would not wake wait_stop */
    int64_t began = mt_now_ns();
    int error = stop_all(f, directory);
    f->result.threads = (int)f->count;
    if (error == 0) {
        struct pollfd word = {f->peer, POLLIN, 0};
        char byte = 1;
        if (write(f->peer, &byte, 1) == 1) /* memtop works, then says so, or is gone */
            f->result.held = poll(&word, 1, HOLD_MS) > 0;
    }
    let_go(f);
    f->result.stop_ns = mt_now_ns() - began;
    _exit(0);
}

/* ---- memtop's side ------------------------------------------------------------------------------ */

static int64_t count_threads(int pid) {
    char text[8192];
    int got = mt_read_task(pid, pid, "status", text, sizeof text);
    const char *line = got < 0 ? 0 : strstr(text, "\nThreads:\t");
    return got < 0 ? got : line ? atoll(line + 10) : 1;
}

mt_freeze *mt_freeze_begin(int pid, int timeout_ms, mt_freeze_result *out) {
    int sockets[2], directory, status;
    char path[32], byte;
    *out = (mt_freeze_result){.stage = MT_FREEZE_FORK};
    int64_t threads = count_threads(pid);
    if (threads < 0)
        return out->error = (int)-threads, NULL;
    size_t room = (size_t)threads * 2 + MORE, bytes = sizeof(mt_freeze) + room * sizeof(thread);
    mt_freeze *f = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f == MAP_FAILED)
        return out->error = errno, NULL;
    *f = (mt_freeze){.pid = pid, .room = room, .bytes = bytes, .limit_ns = timeout_ms * 1000000ll, .socket = -1};
    f->result = *out;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0) {
        f->socket = sockets[0];
        f->peer = sockets[1];
        int pid = mt_child_fork();
        if (pid == 0)
            helper(f, directory);
        f->helper = pid; /* the page is shared: the helper must not write this */
        if (pid < 0)
            f->result.error = -pid;
        close(sockets[1]);
    } else {
        f->result.error = errno;
    }
    if (directory >= 0)
        close(directory);
    /* It is there in time or ends by itself; if it is killed, the socket says so. */
    ssize_t got = 0;
    while (f->helper > 0 && (got = read(f->socket, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (got == 1) {
        f->result.stage = MT_FREEZE_OK;
        *out = f->result;
        return f;
    }
    if (f->helper > 0)
        mt_child_wait(f->helper, HOLD_MS, &status);
    *out = f->result;
    if (f->socket >= 0)
        close(f->socket);
    munmap(f, bytes);
    return NULL;
}

void mt_freeze_end(mt_freeze *f, mt_freeze_result *out) {
    int status;
    if (send(f->socket, "", 1, MSG_NOSIGNAL) < 0)
        f->result.held = 0;
    if (mt_child_wait(f->helper, HOLD_MS, &status) == 0)
        mt_child_kill(f->helper);
    *out = f->result;
    out->stage = MT_FREEZE_OK;
    close(f->socket);
    munmap(f, f->bytes);
}

#endif
