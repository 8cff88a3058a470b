/*
 * Runs a command with less than the kernel could give it, as containers do:
 *
 *   sandbox [NAME[=ERRNO]]... -- COMMAND...
 *
 * NAME is a system call that is refused (with EPERM, or with another one: NAME=ENOSYS), "O_TMPFILE": no file
 * without a name can be made (EOPNOTSUPP), "O_DIRECT": none can be opened so (EINVAL), or "pagemap": no
 * /proc/PID/pagemap can be opened (EACCES), of whichever process.  A filter can't see file names, so these opens
 * are decided by this process, which the kernel asks (seccomp_unotify(2)).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 16

static const struct {
    const char *name;
    long number;
} known[] = {
    {"userfaultfd", SYS_userfaultfd}, {"ptrace", SYS_ptrace},
    {"process_vm_readv", SYS_process_vm_readv}, {"pidfd_getfd", SYS_pidfd_getfd},
    {"pidfd_open", SYS_pidfd_open}, {"perf_event_open", SYS_perf_event_open},
    {"fallocate", SYS_fallocate}, {"flock", SYS_flock}, {"linkat", SYS_linkat}, {"renameat2", SYS_renameat2},
    {"sendfile", SYS_sendfile}, {"pwrite64", SYS_pwrite64}, {"fsync", SYS_fsync},
};

static const struct {
    const char *name;
    int number;
} errors[] = {
    {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ENOLCK", ENOLCK}, {"EDQUOT", EDQUOT},
};

static struct sock_filter program[2 * CALLS + 16];
static unsigned short length;

static void emit(struct sock_filter instruction) {
    program[length++] = instruction;
}

static void decide(long number, uint32_t verdict) {
    emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1));
    emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* open(2) with a flag */
static void refuse_open(uint32_t flag, uint32_t error) {
    emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4));
    emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])));
    emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1));
    emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
    emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

static int error_of(const char *name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(name, errors[i].name)) return errors[i].number;
    return EPERM;
}

static void refuse(char *word) {
    int error = EPERM;
    if (!strcmp(word, "O_TMPFILE")) {
        refuse_open(O_TMPFILE & ~O_DIRECTORY, EOPNOTSUPP); /* O_DIRECTORY is a part of it */
        return;
    }
    if (!strcmp(word, "O_DIRECT")) {
        refuse_open(O_DIRECT, EINVAL);
        return;
    }
    char *equals = strchr(word, '=');
    if (equals) {
        error = error_of(equals + 1);
        *equals = 0;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(word, known[i].name)) {
            decide(known[i].number, SECCOMP_RET_ERRNO | (uint32_t)error);
            return;
        }
    fprintf(stderr, "sandbox: unknown call %s\n", word);
    exit(2);
}

/* Whether the path that the asking thread wants to open ends in "pagemap". */
static int wants_pagemap(const struct seccomp_notif *ask) {
    char path[4096];
    uint64_t at = ask->data.args[ask->data.nr == SYS_open ? 0 : 1];
    struct iovec to = {path, sizeof path - 1}, from = {(void *)at, sizeof path - 1};
    ssize_t got = process_vm_readv((pid_t)ask->pid, &to, 1, &from, 1, 0);
    if (got <= 0) return 0;
    path[got] = 0;
    size_t n = strlen(path);
    return n >= 7 && !strcmp(path + n - 7, "pagemap");
}

static void answer(int listener) {
    struct seccomp_notif ask = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask)) return; /* it was killed meanwhile */
    struct seccomp_notif_resp reply = {.id = ask.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (wants_pagemap(&ask)) reply.flags = 0, reply.error = -EACCES;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

/* Decides about opens until the command ends; ends as it does. */
static int supervise(pid_t child, int said, int go_on) {
    int theirs, state, pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    signal(SIGINT, SIG_IGN);
    if (read(said, &theirs, sizeof theirs) != sizeof theirs) return waitpid(child, NULL, 0), 2;
    int listener = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
    struct pollfd fds[] = {{listener, POLLIN, 0}, {pidfd, POLLIN, 0}};
    if (listener < 0 || write(go_on, "", 1) != 1) return perror("sandbox: listener"), kill(child, SIGKILL), 2;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        if (fds[0].revents & POLLIN) answer(listener);
        if (fds[0].revents & POLLHUP) fds[0].fd = -1;
        if (fds[1].revents) break;
    }
    waitpid(child, &state, 0);
    /* what the command left running still asks: with the listener gone, it gets ENOSYS */
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

int main(int argc, char **argv) {
    int i = 1, pagemap = 0, said[2], go_on[2];
    emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (; i < argc && strcmp(argv[i], "--") && i <= CALLS; i++) {
        if (!strcmp(argv[i], "pagemap"))
            pagemap = 1;
        else
            refuse(argv[i]);
    }
    if (i + 1 >= argc) return fprintf(stderr, "usage: sandbox [NAME[=ERRNO]|O_TMPFILE|O_DIRECT|pagemap]... -- COMMAND...\n"), 2;
    if (pagemap) {
        decide(SYS_openat, SECCOMP_RET_USER_NOTIF);
#ifdef SYS_open
        decide(SYS_open, SECCOMP_RET_USER_NOTIF);
#endif
        decide(SYS_openat2, SECCOMP_RET_USER_NOTIF);
    }
    emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog filter = {length, program};

    if (pagemap && (pipe2(said, O_CLOEXEC) || pipe2(go_on, O_CLOEXEC))) return perror("sandbox"), 2;
    pid_t child = pagemap ? fork() : 0;
    if (child) return supervise(child, said[0], go_on[1]);
    if (pagemap) prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                            pagemap ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0, &filter);
    if (listener < 0) return perror("sandbox: seccomp"), 125;
    if (pagemap) {
        int number = (int)listener;
        char go;
        if (write(said[1], &number, sizeof number) != sizeof number || read(go_on[0], &go, 1) != 1) return 2;
    }
    execvp(argv[i + 1], argv + i + 1);
    perror(argv[i + 1]);
    return 127;
}
