/*
 * Runs a program and writes down what it and its children do to other processes: audit LOG PROGRAM WORDS...
 *
 *   open FLAGS PATH    a file under /proc, FLAGS in octal as open(2) has them
 *   scan FLAGS         PAGEMAP_SCAN, the flags of its argument
 *   call NAME WORD0    ptrace, userfaultfd, process_vm_writev and whatever else can change a process
 *
 * It ends with the program's status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define PAGEMAP_SCAN 0xC0606610u
#define CALLS \
    X(ptrace) X(userfaultfd) X(process_vm_writev) X(process_madvise) X(pidfd_getfd) X(pidfd_send_signal) \
    X(kill) X(tgkill) X(tkill) X(rt_sigqueueinfo) X(rt_tgsigqueueinfo) X(migrate_pages) X(move_pages) \
    X(kcmp) X(setpriority) X(sched_setaffinity) X(sched_setscheduler) X(sched_setattr)

static FILE *trail;

static size_t take(pid_t tid, uint64_t from, void *to, size_t size) {
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};
    ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);
    return got < 0 ? 0 : (size_t)got;
}

static void opened(pid_t tid, uint64_t path, uint64_t flags) {
    char text[256] = {0};
    for (size_t i = 0; i + 1 < sizeof text; i++) /* a byte at a time: the next page may not be there */
        if (take(tid, path + i, text + i, 1) != 1 || !text[i]) break;
    if (!strncmp(text, "/proc/", 6)) fprintf(trail, "open %lo %s\n", (unsigned long)flags, text);
}

static void entered(pid_t tid, uint64_t number, const __u64 *word) {
    uint64_t head[2] = {0};
    switch (number) {
    case SYS_openat: opened(tid, word[1], word[2]); break;
#ifdef SYS_open
    case SYS_open: opened(tid, word[0], word[1]); break;
    case SYS_creat: opened(tid, word[0], 0101); break;
#endif
    case SYS_openat2:
        take(tid, word[2], head, 8);
        opened(tid, word[1], head[0]);
        break;
    case SYS_ioctl:
        if ((uint32_t)word[1] == PAGEMAP_SCAN && take(tid, word[2], head, sizeof head) == sizeof head)
            fprintf(trail, "scan %lu\n", (unsigned long)head[1]);
        break;
#define X(name) case SYS_##name: fprintf(trail, "call " #name " %ld\n", (long)word[0]); break;
    CALLS
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || !(trail = fopen(argv[1], "we"))) return fprintf(stderr, "usage: audit LOG PROGRAM WORDS...\n"), 2;
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status, ended = 0;
    waitpid(child, &status, WUNTRACED);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, child, 0, options)) return perror("ptrace"), 2;
    kill(child, SIGCONT);
    for (pid_t tid; (tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        if (tid < 0) continue;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (tid == child) ended = status;
            continue;
        }
        struct ptrace_syscall_info info;
        int deliver = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY)
                entered(tid, info.entry.nr, info.entry.args);
        } else if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
            ptrace(PTRACE_LISTEN, tid, 0, 0);
            continue;
        } else if (status >> 16 == 0) {
            deliver = WSTOPSIG(status);
        }
        ptrace(PTRACE_SYSCALL, tid, 0, deliver);
    }
    fclose(trail);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
}
