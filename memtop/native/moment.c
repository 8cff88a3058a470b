/* Which thread is best stopped, and when: a stop is seen by a program only in a few system calls. */
#include "inject.h"

#if MT_CAN_INJECT

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_NS 20000
#define MOMENT_NS 30000000ll /* for a thread that wakes now and then */

static int open_call(int pid, int tid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* proc_pid_syscall(5): "running", or the number of the call that it is blocked in. */
static int rank(int fd) {
    char text[256];
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0)
        return MT_RANK_RUNS;
    text[got] = 0;
    if (text[0] == 'r')
        return MT_RANK_RUNS;
    int64_t number = strtoll(text, 0, 10);
    if (mt_arch_notices(number))
        return MT_RANK_NOTICES;
    return mt_arch_may_notice(number) ? MT_RANK_RUNS : MT_RANK_WAITS;
}

int mt_thread_rank(int pid, int tid) {
    int fd = open_call(pid, tid), found = fd < 0 ? MT_RANK_RUNS : rank(fd);
    if (fd >= 0)
        close(fd);
    return found;
}

void mt_await_moment(int pid, int tid) {
    int fd = open_call(pid, tid);
    if (fd < 0)
        return;
    int64_t end = mt_now_ns() + MOMENT_NS;
    /* With sleeps between, as we may have the only processor, and come first. */
    while (rank(fd) == MT_RANK_NOTICES && mt_now_ns() < end)
        nanosleep(&(struct timespec){0, PAUSE_NS}, 0);
    close(fd);
}

#else

int mt_thread_rank(int pid, int tid) { return MT_RANK_RUNS; }

#endif
