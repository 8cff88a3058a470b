/*
 * One userfaultfd() call inside another process.
 *
 * A userfaultfd belongs to the address space that makes it, so this one call must run in the target;
 * everything else happens from outside.  A helper process stops one thread, lends it a syscall instruction
 * that the target has anyway, and gives it back as it was (tracee.c).  It is a process of its own so that
 * whatever happens to memtop (Ctrl-C, kill -9, the OOM killer) the target is given back; and if the helper
 * itself is killed, the thread gives itself back (frame.c).
 */
#include "inject.h"

#if !MT_CAN_INJECT

int mt_inject_uffd(int pid, int tid, int pidfd, int timeout_ms, mt_injection *out) {
    *out = (mt_injection){.uffd = -1, .stage = MT_INJECT_ARCH};
    return MT_INJECT_ARCH;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

#define MOST_LOOKS 200
#define GRACE_MS 1000 /* what the helper gets beyond its own limits before memtop calls it off; and to end */

static int send_fd(int socket, int fd) {
    char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
    struct iovec io = {&byte, 1};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int receive_fd(int socket) {
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec io = {&byte, 1};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
        return -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

/* The last to be killed for lack of memory: the target waits for us.  As far as we may. */
static void be_spared(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    if (fd >= 0 && write(fd, "-1000", 5) < 0 && write(fd, "0", 1) < 0)
        errno = 0; /* it stays as it is */
}

static void helper(mt_job *j) {
    int uffd = -1;
    setsid(); /* a Ctrl-C is for memtop, not for us */
    be_spared();
    mt_child_close_all_but(j->pidfd, j->socket); /* another target's userfaultfd must end with memtop */
    signal(SIGCHLD, SIG_DFL); /* ignored ones would not wake wait_stop */
    int stage = mt_tracee_make_uffd(j, &uffd);
    if (stage == MT_INJECT_OK && send_fd(j->socket, uffd) != 0)
        stage = mt_fail(j, MT_INJECT_FETCH, errno);
    if (uffd >= 0)
        close(uffd); /* now, as our end may be late: it would keep the target's memory taken for the next tracker */
    j->shared->result.stage = stage;
    atomic_store(&j->shared->phase, MT_DONE);
    if (j->runs)
        mt_turn_end(j);
    _exit(0);
}

/* Has the thread a seccomp filter?  1 also when that can't be read. */
static int is_filtered(int pid, int tid) {
    char text[8192];
    int got = mt_read_task(pid, tid, "status", text, sizeof text);
    const char *line = strstr(text, "\nSeccomp:\t");
    return got < 0 || (line && line[10] != '0');
}

static int is_done(const mt_job *j) { return atomic_load(&j->shared->phase) == MT_DONE; }

/* Waits for its result.  As mt_child_wait. */
static int await_result(const mt_job *j, int pid, int timeout_ms, int *status) {
    int64_t deadline = mt_now_ns() + timeout_ms * 1000000ll;
    for (;;) {
        int ended = mt_child_wait(pid, 0, status);
        if (ended || is_done(j) || mt_now_ns() >= deadline)
            return ended;
        nanosleep(&(struct timespec){0, 100000}, 0);
    }
}

/* Runs the helper and waits for it.  The result is in the shared page. */
static void run(mt_job *j, int timeout_ms) {
    mt_injection *result = &j->shared->result;
    int status, untouched = MT_UNTOUCHED, limit_ms = MT_PATIENCE * timeout_ms + GRACE_MS;
    int pid = mt_child_fork();
    if (pid == 0)
        helper(j);
    if (pid < 0) {
        *result = (mt_injection){.stage = MT_INJECT_FORK, .error = -pid};
        return;
    }
    int ended = await_result(j, pid, limit_ms, &status);
    if (ended == 0 && !is_done(j)) {
        if (atomic_compare_exchange_strong(&j->shared->phase, &untouched, MT_CALLED_OFF)) {
            mt_child_kill(pid);
            *result = (mt_injection){.stage = MT_INJECT_TIMEOUT};
            return;
        }
        /* It is at work in the target.  It must finish, whether or not we are still there to see it. */
        ended = await_result(j, pid, limit_ms, &status);
    }
    if (!is_done(j)) {
        int killed = ended == 1 && WIFSIGNALED(status);
        *result = (mt_injection){
            .stage = killed ? MT_INJECT_KILLED : MT_INJECT_TIMEOUT,
            .error = killed ? WTERMSIG(status) : 0,
            .touched = atomic_load(&j->shared->phase) != MT_UNTOUCHED,
        };
    }
    /* It comes last (turn.c), and the more memory memtop has, the longer its end takes: on a machine with much to
     * do, seconds. */
    if (ended == 0 && mt_child_wait(pid, is_done(j) ? GRACE_MS : 0, &status) == 0)
        mt_child_leave(pid);
}

/* Waits a moment for the thread, on its own by now, to close its descriptor. */
static void await_close(const mt_job *j) {
    static const char wanted[] = "anon_inode:[userfaultfd]";
    char path[64], found[sizeof wanted];
    snprintf(path, sizeof path, "/proc/%d/task/%d/fd/%d", j->pid, j->tid, j->shared->remote);
    for (int i = 0; i < MOST_LOOKS; i++) {
        if (readlink(path, found, sizeof found) != sizeof wanted - 1 || memcmp(found, wanted, sizeof wanted - 1) != 0)
            return;
        nanosleep(&(struct timespec){0, 50000}, 0);
    }
}

/* Everything that can be looked up before the target is touched.  MT_INJECT_OK, or what is missing. */
static int prepare(mt_job *j, mt_maps *maps, int *error) {
    int found = maps ? mt_read_layout(j->pid, j->tid, maps) : -ENOMEM;
    j->maps = maps;
    if (found == 0)
        found = mt_find_code(maps, j->tid, MT_CALL_CODE, MT_CALL_SIZE, &j->code);
    if (found == 1)
        found = mt_find_code(maps, j->tid, MT_LOAD_CODE, MT_LOAD_SIZE, &j->load);
    if (found == 1 && mt_find_code(maps, j->tid, MT_PIVOT_CODE, MT_PIVOT_SIZE, &j->pivot) != 1)
        j->pivot = 0;
    *error = found < 0 ? -found : 0;
    j->stack = found == 1 ? mt_main_stack(maps) : 0;
    j->filtered = is_filtered(j->pid, j->tid);
    j->vectors = mt_arch_layout();
    if (found == 1)
        return mt_frame_likely(j) ? MT_INJECT_OK : MT_INJECT_STACK;
    return found == -ESRCH || found == -ENOENT ? MT_INJECT_GONE : MT_INJECT_GADGET;
}

/* With a page and a pair of sockets to share with the helper. */
static int inject(mt_job *j, int timeout_ms, mt_injection *out) {
    int sockets[2];
    j->shared = mmap(0, MT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (j->shared == MAP_FAILED)
        return errno;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        int error = errno;
        munmap(j->shared, MT_PAGE);
        return error;
    }
    /* Until the helper says otherwise: it was killed. */
    j->shared->result = (mt_injection){.stage = MT_INJECT_TIMEOUT};
    j->shared->remote = -1;
    j->socket = sockets[1];
    j->limit_ns = timeout_ms * 1000000ll;
    run(j, timeout_ms);
    if (j->shared->remote >= 0)
        await_close(j);
    *out = j->shared->result;
    out->tid = j->tid;
    out->uffd = out->stage == MT_INJECT_OK ? receive_fd(sockets[0]) : -1;
    close(sockets[0]);
    close(sockets[1]);
    munmap(j->shared, MT_PAGE);
    return 0;
}

int mt_inject_uffd(int pid, int tid, int pidfd, int timeout_ms, mt_injection *out) {
    mt_job j = {.pid = pid, .tid = tid, .pidfd = pidfd};
    mt_maps *maps = mt_maps_new();
    *out = (mt_injection){.uffd = -1, .tid = tid};
    out->stage = prepare(&j, maps, &out->error);
    if (out->stage == MT_INJECT_OK) {
        int error = inject(&j, timeout_ms, out);
        if (error)
            *out = (mt_injection){.uffd = -1, .stage = MT_INJECT_FORK, .error = error, .tid = tid};
    }
    if (maps)
        mt_maps_free(maps);
    return out->stage;
}

#endif
