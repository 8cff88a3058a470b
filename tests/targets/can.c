/*
 * What this kernel and this sandbox allow, tried directly and without memtop: one line a capability,
 * "NAME ok" or "NAME why not".  Everything is tried on a child of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGEMAP_SCAN 0xC0606610ul
#define UFFDIO_API 0xC018AA3Ful
#define WP_ASYNC (1ull << 15)

static void say(const char *name, int works) {
    printf("%s %s\n", name, works ? "ok" : strerror(errno));
}

int main(void) {
    char path[64], here[4096] = "", there[16];
    long uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
    say("userfaultfd", uffd >= 0);
    uint64_t api[3] = {0xAA, WP_ASYNC, 0};
    if (uffd < 0) errno = ENOSYS;
    say("wp_async", uffd >= 0 && ioctl((int)uffd, UFFDIO_API, api) == 0);

    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    snprintf(path, sizeof path, "/proc/%d/pagemap", child);
    int pagemap = open(path, O_RDONLY | O_CLOEXEC);
    say("pagemap", pagemap >= 0);
    uint64_t scan[12] = {sizeof scan, 0, 0, 0, 0, (uintptr_t)here, 1, 0, 0, 0, 8, 8};
    say("pagemap_scan", pagemap >= 0 && ioctl(pagemap, PAGEMAP_SCAN, scan) == 0);
    struct iovec to = {there, sizeof there}, from = {here, sizeof there};
    say("process_vm_readv", process_vm_readv(child, &to, 1, &from, 1, 0) > 0);
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, 1, 0);
    say("pidfd_getfd", copy >= 0);
    say("ptrace", ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0);

    snprintf(path, sizeof path, "/proc/%d/clear_refs", child);
    int soft = open(path, O_WRONLY | O_CLOEXEC);
    say("clear_refs", soft >= 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
