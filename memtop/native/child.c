/* Forked helpers, see child.h. */
#include "child.h"

#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int mt_read_task(int pid, int tid, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    int error = errno;
    text[got < 0 ? 0 : got] = 0;
    if (fd >= 0)
        close(fd);
    return got < 0 ? -error : (int)got;
}

/* Left to end by themselves; 0: a free place. */
static _Atomic int left[16];

void mt_child_leave(int pid) {
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&left[i], &none, pid))
            return;
    }
}

static void reap_left(void) {
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        int pid = atomic_exchange(&left[i], 0); /* ours alone: once reaped, its number may be another one's */
        if (pid && waitpid(pid, 0, __WALL | WNOHANG) == 0)
            mt_child_leave(pid);
    }
}

int mt_child_fork(void) {
    uint64_t all = ~0ull, before;
    reap_left();
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, MT_MASK_SIZE) != 0)
        return -errno;
    /* Not fork(): its atfork handlers take locks and run other libraries' code.  Exit signal 0: see child.h. */
    long pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        return 0;
    int error = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, MT_MASK_SIZE);
    return pid < 0 ? -error : (int)pid;
}

int mt_child_wait(int pid, int timeout_ms, int *status) {
    int64_t deadline = mt_now_ns() + timeout_ms * 1000000ll;
    for (;;) {
        pid_t ended = waitpid(pid, status, __WALL | WNOHANG);
        if (ended == pid)
            return 1;
        if (ended < 0 && errno != EINTR)
            return -errno;
        if (mt_now_ns() >= deadline)
            return 0;
        nanosleep(&(struct timespec){0, 100000}, 0);
    }
}

void mt_child_kill(int pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, 0, __WALL) < 0 && errno == EINTR)
        ;
}

void mt_child_close_all_but(int a, int b) {
    unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a), next = 0;
    for (int i = 0; i < 2; i++) {
        unsigned keep = i == 0 ? low : high;
        if ((int)keep < 0)
            continue;
        if (keep > next)
            syscall(MT_NR_CLOSE_RANGE, next, keep - 1, 0);
        next = keep + 1;
    }
    syscall(MT_NR_CLOSE_RANGE, next, ~0u, 0);
}
