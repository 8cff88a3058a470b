/*
 * A whole process stands still, for milliseconds: for the last pages of a dump, or so that reading and clearing
 * soft-dirty bits is one step.
 *
 * A helper process does the tracing (stopper.c).  So a thread that can't be stopped can be let go by ending the
 * helper, the helper can outlive memtop by the moment that it takes to let all go, and it has the priority that
 * memtop should not have.  If the helper is killed, the kernel lets the threads go.
 */
#include "standstill.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "child.h"

#define GRACE_MS 2000

struct mt_standstill {
    mt_frozen *shared;
    int helper, socket;
};

/* Null: no memory. */
static mt_standstill *blank(void) {
    mt_standstill *f = calloc(1, sizeof *f);
    if (!f)
        return 0;
    f->helper = f->socket = -1;
    f->shared = mmap(0, sizeof *f->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->shared == MAP_FAILED) {
        free(f);
        return 0;
    }
    return f;
}

#if MT_CAN_INJECT

/* The target waits for us: first to get a processor, and memtop is to be killed for lack of memory before us. */
static void be_first(void) {
    struct sched_param least = {1};
    if (sched_setscheduler(0, SCHED_FIFO, &least) != 0)
        setpriority(PRIO_PROCESS, 0, -20);
}

static void helper(mt_stopper *s) {
    setsid(); /* a Ctrl-C is for memtop, not for us */
    be_first();
    mt_child_close_all_but(s->pidfd, s->socket);
    signal(SIGCHLD, SIG_DFL);
    mt_stopper_run(s);
    _exit(0);
}

/* Waits for the helper's word that all stand still, or for its end.  It bounds its own time. */
static void await(mt_standstill *f) {
    char byte;
    ssize_t got;
    do
        got = read(f->socket, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got != 1 && f->shared->stop.stage == MT_STANDSTILL_OK)
        f->shared->stop.stage = MT_STANDSTILL_LOST;
}

mt_standstill *mt_standstill_start(int pid, int pidfd, int late_ms, int patience_ms, int registers) {
    int sockets[2];
    mt_standstill *f = blank();
    if (!f)
        return 0;
    mt_stop *stop = &f->shared->stop;
    stop->stage = MT_STANDSTILL_FORK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        stop->error = errno;
        return f;
    }
    f->socket = sockets[0];
    stop->stage = MT_STANDSTILL_OK;
    mt_stopper s = {pid, pidfd, sockets[1], registers, late_ms * 1000000ll, patience_ms * 1000000ll, f->shared};
    f->helper = mt_child_fork();
    if (f->helper == 0)
        helper(&s);
    close(sockets[1]);
    if (f->helper < 0) {
        stop->stage = MT_STANDSTILL_FORK;
        stop->error = -f->helper;
    } else {
        await(f);
    }
    return f;
}

int mt_standstill_release(mt_standstill *f) {
    int status, held = 0;
    if (f->helper <= 0)
        return -ETIMEDOUT;
    if (atomic_load(&f->shared->phase) == MT_HOLDING) {
        char byte = 0;
        held = send(f->socket, &byte, 1, MSG_NOSIGNAL) == 1 && read(f->socket, &byte, 1) == 1;
    }
    if (mt_child_wait(f->helper, GRACE_MS, &status) == 0)
        mt_child_kill(f->helper);
    f->helper = -1;
    if (f->shared->stop.released_ns == 0)
        f->shared->stop.released_ns = mt_now_ns(); /* the kernel has let them go */
    return held ? 0 : -ETIMEDOUT;
}

#else

mt_standstill *mt_standstill_start(int pid, int pidfd, int late_ms, int patience_ms, int registers) {
    mt_standstill *f = blank();
    if (f)
        f->shared->stop.stage = MT_STANDSTILL_ARCH;
    return f;
}

int mt_standstill_release(mt_standstill *f) {
    return -ETIMEDOUT;
}

#endif

const mt_stop *mt_standstill_stop(const mt_standstill *f) {
    return &f->shared->stop;
}

const mt_thread *mt_standstill_threads(const mt_standstill *f) {
    return f->shared->threads;
}

uint64_t *mt_standstill_beat(mt_standstill *f) {
    return &f->shared->beat;
}

void mt_standstill_free(mt_standstill *f) {
    if (!f)
        return;
    mt_standstill_release(f);
    if (f->socket >= 0)
        close(f->socket);
    munmap(f->shared, sizeof *f->shared);
    free(f);
}

int mt_xsave_component(uint32_t number, uint32_t *size, uint32_t *offset) {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (number > 1 && number < 63 && __get_cpuid_count(0xd, number, &a, &b, &c, &d) && a) {
        *size = a;
        *offset = b;
        return 0;
    }
#endif
    return -ENOENT;
}
