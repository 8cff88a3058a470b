/*
 * The helper of standstill.c: traces every thread of a process, has them all stand still, takes their registers, and
 * lets them go.  It makes system calls only (see child.h).
 *
 * All are seized first, which stops none; then all are told to stop in one go.  A thread that a seized one makes is
 * traced from its birth (PTRACE_O_TRACECLONE); the list of threads is read again until it holds nothing new, so
 * that one made by a thread that was not seized yet is found, too.
 */
#include "standstill.h"

#if MT_CAN_INJECT

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

#define NR_PIDFD_SEND_SIGNAL 424
#define MASK_SIZE 8 /* bytes of a kernel sigset_t */
#define LOOK_MS 100 /* how often the beat is looked at */

/* A process is gone with its last thread; one thread less is nothing to speak of. */
static bool is_alive(const mt_stopper *s) {
    return syscall(NR_PIDFD_SEND_SIGNAL, s->pidfd, 0, 0, 0) == 0 || errno != ESRCH;
}

/* ---- who there is --------------------------------------------------------------------------------- */

static mt_thread *find(mt_stopper *s, int tid, bool add) {
    mt_frozen *shared = s->shared;
    for (uint32_t slot = (uint32_t)tid % MT_SLOTS;; slot = (slot + 1) % MT_SLOTS) {
        uint32_t index = shared->slots[slot];
        if (index && shared->threads[index - 1].tid == tid)
            return &shared->threads[index - 1];
        if (index)
            continue;
        if (!add || shared->stop.threads == MT_THREADS)
            return 0;
        mt_thread *thread = &shared->threads[shared->stop.threads++];
        thread->tid = tid;
        shared->slots[slot] = shared->stop.threads;
        return thread;
    }
}

static char state_of(const mt_stopper *s, int tid) {
    char text[1024];
    mt_read_task(s->pid, tid, "stat", text, sizeof text);
    const char *name_end = strrchr(text, ')'); /* the name may hold anything */
    return name_end && name_end[1] ? name_end[2] : 'X';
}

static int tracer_of(const mt_stopper *s, int tid) {
    char text[8192];
    mt_read_task(s->pid, tid, "status", text, sizeof text);
    const char *line = strstr(text, "\nTracerPid:\t");
    return line ? atoi(line + 12) : 0;
}

/* Seizes a thread that is new.  0, or the errno: a thread that ends is no error. */
static int seize(mt_stopper *s, int tid) {
    if (find(s, tid, false))
        return 0;
    int error = ptrace(PTRACE_SEIZE, tid, 0, (void *)PTRACE_O_TRACECLONE) == 0 ? 0 : errno;
    if (error == EPERM && tracer_of(s, tid) == (int)syscall(SYS_getpid))
        error = 0; /* born traced by us, not yet waited for */
    if (error) {
        char state = error == EPERM ? state_of(s, tid) : 'X';
        return state == 'Z' || state == 'X' ? 0 : error;
    }
    return find(s, tid, true) ? 0 : E2BIG;
}

/* Seizes all threads that are not yet.  How many there were, or -errno. */
static int seize_all(mt_stopper *s) {
    struct entry { uint64_t inode; int64_t offset; uint16_t length; uint8_t type; char name[]; };
    char path[64], buffer[16384] __attribute__((aligned(8)));
    uint32_t before = s->shared->stop.threads;
    snprintf(path, sizeof path, "/proc/%d/task", s->pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = fd < 0 ? errno : 0;
    for (long got = 1; !error && got > 0;) {
        got = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
        if (got < 0)
            error = errno;
        for (long at = 0; at < got && !error; at += ((struct entry *)(buffer + at))->length) {
            int tid = atoi(((struct entry *)(buffer + at))->name);
            if (tid > 0 && (error = seize(s, tid)) != 0)
                s->shared->stop.tid = tid;
        }
    }
    if (fd >= 0)
        close(fd);
    return error ? -error : (int)(s->shared->stop.threads - before);
}

/* ---- a thread that has stopped ---------------------------------------------------------------------- */

static uint32_t read_set(int tid, int set, void *to, size_t room) {
    struct iovec io = {to, room};
    return ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)set, &io) == 0 ? (uint32_t)io.iov_len : 0;
}

/* epoll_wait and some others say EINTR for our stop alone (arch_*.h).  Mended at once, not when the thread is let go,
 * so that it does not matter how that comes about. */
static void mend(mt_thread *t) {
    mt_regs regs;
    memcpy(&regs, t->general_set, sizeof regs);
    if (mt_arch_compat(&regs, t->general) || !mt_arch_interrupted(&regs))
        return;
    mt_arch_restart(&regs);
    struct iovec io = {&regs, sizeof regs};
    if (ptrace(PTRACE_SETREGSET, t->tid, (void *)NT_PRSTATUS, &io) == 0)
        memcpy(t->general_set, &regs, sizeof regs);
}

static void take(mt_stopper *s, mt_thread *t) {
    t->stopped_ns = mt_now_ns();
    t->error = 0;
    t->general = read_set(t->tid, NT_PRSTATUS, t->general_set, sizeof t->general_set);
    ptrace(PTRACE_GETSIGMASK, t->tid, (void *)MASK_SIZE, &t->blocked);
    if (t->general)
        mend(t);
    s->shared->stop.stopped++;
}

/* What the target need not wait for one by one: all stand still already. */
static void take_rest(mt_thread *t) {
    siginfo_t info;
    t->floating = read_set(t->tid, NT_PRFPREG, t->floating_set, sizeof t->floating_set);
    t->extended = read_set(t->tid, NT_X86_XSTATE, t->extended_set, sizeof t->extended_set);
    /* A stop of ours has a siginfo as well: SIGTRAP, with the code of a ptrace event.  With that code and another
     * signal, it is that signal that had stopped the whole process before we came. */
    if (ptrace(PTRACE_GETSIGINFO, t->tid, 0, &info) == 0 &&
        (info.si_code >> 8 != PTRACE_EVENT_STOP || info.si_signo != SIGTRAP)) {
        memcpy(t->signal_set, &info, sizeof t->signal_set);
        t->signal = sizeof t->signal_set;
    }
}

/* ---- waiting for all ------------------------------------------------------------------------------- */

static bool is_waited_for(const mt_thread *t) {
    return t->stopped_ns == 0 && t->error == 0;
}

static uint32_t waited_for(const mt_stopper *s) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shared->stop.threads; i++)
        count += is_waited_for(&s->shared->threads[i]);
    return count;
}

static void interrupt(mt_thread *t) {
    if (ptrace(PTRACE_INTERRUPT, t->tid, 0, 0) != 0 && errno == ESRCH)
        t->error = ESRCH;
}

/* One answer of waitpid. */
static void heed(mt_stopper *s, int tid, int status) {
    mt_thread *t = find(s, tid, false);
    if (!WIFSTOPPED(status)) {
        if (t)
            t->error = ESRCH;
        return;
    }
    if (!t && syscall(SYS_tgkill, s->pid, tid, 0) != 0) { /* a process that shares some of its memory */
        ptrace(PTRACE_DETACH, tid, 0, 0);
        return;
    }
    if (!t && !(t = find(s, tid, true)))
        return;
    if (status >> 16 == PTRACE_EVENT_STOP) {
        if (is_waited_for(t) || t->error == ETIMEDOUT)
            take(s, t);
        return;
    }
    /* A signal was on its way, or a thread is being made.  This stop took our interrupt with it: ask again. */
    int signal = status >> 16 ? 0 : WSTOPSIG(status);
    interrupt(t);
    ptrace(PTRACE_CONT, tid, 0, (void *)(uintptr_t)signal);
}

/* Waits until all stand still, or have had their time. */
static void wait_all(mt_stopper *s) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    int64_t begin = mt_now_ns();
    for (;;) {
        int status;
        pid_t got = waitpid(-1, &status, __WALL | WNOHANG);
        if (got > 0) {
            heed(s, got, status);
            continue;
        }
        if (waited_for(s) == 0 || (got < 0 && errno != EINTR))
            return;
        int64_t passed = mt_now_ns() - begin, left = s->late_ns - passed % s->late_ns;
        for (uint32_t i = 0; passed >= s->late_ns && i < s->shared->stop.threads; i++) {
            mt_thread *t = &s->shared->threads[i];
            if (is_waited_for(t) && (passed >= MT_PATIENCE * s->late_ns || state_of(s, t->tid) == 'D'))
                t->error = ETIMEDOUT; /* it stops before it comes back to its program, if ever */
        }
        if (waited_for(s) == 0)
            return;
        /* Blocked as all signals are here, SIGCHLD waits for us and can't come unnoticed before this. */
        struct timespec limit = {left / 1000000000, left % 1000000000};
        syscall(SYS_rt_sigtimedwait, &child_signal, 0, &limit, MASK_SIZE);
    }
}

static int stop_all(mt_stopper *s) {
    mt_stop *stop = &s->shared->stop;
    int more;
    while ((more = seize_all(s)) > 0)
        ;
    stop->begin_ns = mt_now_ns();
    for (uint32_t told = 0; more >= 0;) {
        for (; told < stop->threads; told++)
            interrupt(&s->shared->threads[told]);
        wait_all(s);
        more = seize_all(s);
        if (more == 0 && told == stop->threads)
            break;
    }
    stop->stopped_ns = mt_now_ns();
    stop->error = more < 0 ? -more : 0;
    if (!is_alive(s) || (more >= 0 && stop->stopped == 0 && stop->threads == 0))
        return MT_STANDSTILL_GONE;
    return more < 0 ? MT_STANDSTILL_SEIZE : MT_STANDSTILL_OK;
}

static void release_all(mt_stopper *s) {
    mt_stop *stop = &s->shared->stop;
    for (uint32_t i = 0; i < stop->threads; i++) {
        mt_thread *t = &s->shared->threads[i];
        ptrace(PTRACE_DETACH, t->tid, 0, 0); /* of one that never stopped, our exit lets go */
        t->released_ns = mt_now_ns();
    }
    stop->released_ns = mt_now_ns();
}

/* Until told to let go, until memtop is gone, or until it gives no more sign of life (stopped by Ctrl-Z). */
static bool hold(mt_stopper *s) {
    uint64_t beat = __atomic_load_n(&s->shared->beat, __ATOMIC_RELAXED);
    int64_t since = mt_now_ns();
    char byte = 0;
    if (send(s->socket, &byte, 1, MSG_NOSIGNAL) != 1)
        return false;
    for (;;) {
        struct pollfd told = {s->socket, POLLIN, 0};
        int ready = poll(&told, 1, LOOK_MS);
        if (ready > 0)
            return read(s->socket, &byte, 1) == 1;
        uint64_t now = __atomic_load_n(&s->shared->beat, __ATOMIC_RELAXED);
        if (now != beat) {
            beat = now;
            since = mt_now_ns();
        } else if (mt_now_ns() - since > s->patience_ns) {
            return false;
        }
    }
}

/* The first use of a library function looks it up, the first touch of a page after a fork copies it: neither
 * while the target stands still. */
static void rehearse(mt_stopper *s) {
    char byte;
    struct iovec io = {&byte, 1};
    read_set(0, NT_PRSTATUS, s->shared->threads[0].general_set, 8);
    process_vm_readv(0, &io, 1, &io, 1, 0);
    state_of(s, s->pid);
    waitpid(-1, 0, __WALL | WNOHANG);
    poll(0, 0, 0);
    is_alive(s);
    for (int i = 0; i < 4; i++) /* and of the first threads' records */
        memset(&s->shared->threads[i], 0, sizeof s->shared->threads[i]);
}

void mt_stopper_run(mt_stopper *s) {
    mt_frozen *shared = s->shared;
    rehearse(s);
    int stage = is_alive(s) ? stop_all(s) : MT_STANDSTILL_GONE;
    if (stage != MT_STANDSTILL_OK) {
        release_all(s);
        shared->stop.stage = stage;
        return; /* the end of the socket says it */
    }
    for (uint32_t i = 0; i < shared->stop.threads; i++) {
        mt_thread *t = &shared->threads[i];
        shared->stop.late += t->error == ETIMEDOUT;
        if (t->stopped_ns)
            take_rest(t);
    }
    atomic_store(&shared->phase, MT_HOLDING);
    bool told = hold(s);
    atomic_store(&shared->phase, MT_RELEASED);
    release_all(s);
    char byte = 0;
    if (told && send(s->socket, &byte, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
}

#endif
