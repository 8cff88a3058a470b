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

#define LOOK_MS 100 /* how often the beat is looked at */

/* A process is gone with its last thread; one thread less is nothing to speak of. */
static bool is_alive(const mt_stopper *s) {
    long dead = s->pidfd < 0 ? kill(s->pid, 0) : syscall(MT_NR_PIDFD_SEND_SIGNAL, s->pidfd, 0, 0, 0);
    return dead == 0 || errno != ESRCH;
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
    mt_stop *stop = &s->shared->stop;
    t->stopped_ns = mt_now_ns();
    t->general = read_set(t->tid, NT_PRSTATUS, t->general_set, sizeof t->general_set);
    if (t->general && mt_arch_compat((mt_regs *)t->general_set, t->general)) {
        stop->stage = MT_STANDSTILL_COMPAT; /* its calls have other numbers: nothing could be mended */
        stop->tid = t->tid;
    } else if (t->general && !t->pending) {
        mend(t);
    }
    ptrace(PTRACE_GETSIGMASK, t->tid, (void *)MT_MASK_SIZE, &t->blocked);
    stop->stopped++;
}

/* What the target need not wait for one by one: all stand still already, and memtop reads its pages meanwhile. */
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

static void interrupt(mt_thread *t) {
    if (ptrace(PTRACE_INTERRUPT, t->tid, 0, 0) != 0 && errno == ESRCH)
        t->error = ESRCH;
}

/* One stop.  True: the thread stands still. */
static bool heed(mt_stopper *s, mt_thread *t, int status) {
    unsigned long tid = 0;
    if (status >> 8 != PTRACE_EVENT_CLONE) {
        t->pending = status >> 8 == PTRACE_EVENT_STOP ? 0 : status & 0x7f;
        take(s, t);
        return true;
    }
    /* It has made a thread, which stops by itself.  This stop took our interrupt with it: ask again. */
    if (ptrace(PTRACE_GETEVENTMSG, t->tid, 0, &tid) == 0) {
        mt_thread *born = find(s, (int)tid, true);
        if (born && syscall(SYS_tgkill, s->pid, (int)tid, 0) != 0)
            born->error = EXDEV; /* a process that shares some of its memory: let go with the rest */
    }
    interrupt(t);
    ptrace(PTRACE_CONT, t->tid, 0, 0);
    return false;
}

/* True: the thread stands still or has ended, as far as that was to be seen now.
 *
 * WNOWAIT: a signal that is reported to a tracer is lost if that one takes the report and then ends.  So a thread that
 * is about to receive one keeps it, and stands there as well as anywhere. */
static bool is_settled(mt_stopper *s, mt_thread *t) {
    siginfo_t found = {0};
    while (t->error == 0 && t->stopped_ns == 0) {
        if (waitid(P_PID, (id_t)t->tid, &found, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) {
            t->error = ESRCH;
        } else if (found.si_pid && found.si_code != CLD_TRAPPED && found.si_code != CLD_STOPPED) {
            t->error = ESRCH; /* it has ended, and is not to linger */
            waitpid(t->tid, 0, __WALL | WNOHANG);
        } else if (found.si_pid == 0 || !heed(s, t, found.si_status)) {
            return false;
        }
    }
    return true;
}

/* Waits until all stand still, or have had their time.  In whatever order they do: none is to wait for its mending. */
static void wait_all(mt_stopper *s) {
    const uint64_t child_signal = 1ull << (SIGCHLD - 1);
    for (int64_t begin = mt_now_ns();;) {
        int64_t passed = mt_now_ns() - begin, left = s->late_ns - passed % s->late_ns;
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < s->shared->stop.threads; i++) {
            mt_thread *t = &s->shared->threads[i];
            if (is_settled(s, t))
                continue;
            if (passed >= MT_PATIENCE * s->late_ns || (passed >= s->late_ns && state_of(s, t->tid) == 'D'))
                t->error = ETIMEDOUT; /* it stops before it comes back to its program, if ever */
            else
                waiting++;
        }
        if (waiting == 0)
            return;
        /* Blocked as all signals are here, SIGCHLD waits for us and can't come unnoticed before this. */
        struct timespec limit = {left / 1000000000, left % 1000000000};
        syscall(SYS_rt_sigtimedwait, &child_signal, 0, &limit, MT_MASK_SIZE);
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
    return more < 0 ? MT_STANDSTILL_SEIZE : stop->stage;
}

static void release_all(mt_stopper *s) {
    mt_stop *stop = &s->shared->stop;
    for (uint32_t i = 0; i < stop->threads; i++) {
        mt_thread *t = &s->shared->threads[i];
        ptrace(PTRACE_DETACH, t->tid, 0, (void *)(uintptr_t)t->pending); /* one that never stopped: by our exit */
        t->released_ns = mt_now_ns();
    }
    stop->released_ns = mt_now_ns();
}

/* Until told to let go, until memtop is gone, or until it gives no more sign of life (stopped by Ctrl-Z). */
static bool hold(mt_stopper *s) {
    uint64_t beat = __atomic_load_n(&s->shared->beat, __ATOMIC_RELAXED);
    int64_t since = mt_now_ns();
    char byte;
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
    waitid(P_ALL, 0, 0, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL);
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
    for (uint32_t i = 0; i < shared->stop.threads; i++)
        shared->stop.late += shared->threads[i].error == ETIMEDOUT;
    atomic_store(&shared->phase, MT_HOLDING);
    char byte = 0;
    bool told = send(s->socket, &byte, 1, MSG_NOSIGNAL) == 1;
    for (uint32_t i = 0; told && s->registers && i < shared->stop.threads; i++)
        if (shared->threads[i].stopped_ns)
            take_rest(&shared->threads[i]);
    told = told && hold(s);
    atomic_store(&shared->phase, MT_RELEASED);
    release_all(s);
    if (told && send(s->socket, &byte, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
}

#endif
