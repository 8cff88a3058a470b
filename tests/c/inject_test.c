/* The injection and the probes, under the sanitizers: out of a process with threads, into a child. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "inject.h"
#include "uffd.h"

#define TIMES 50
#define LIMIT_MS 5000 /* under the sanitizers, on a busy machine */

static _Atomic int stop;

/* Another thread allocates all the time: the helper must not need its lock. */
static void *allocate(void *unused) {
    while (!stop) free(malloc(100000));
    return unused;
}

static int new_target(char *pages) {
    int pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (nanosleep(&(struct timespec){0, 2000000}, 0) == 0) pages[0]++;
        _exit(1);
    }
    return pid;
}

static void test_injection(int pid, int pidfd, char *pages) {
    mt_injection out;
    for (int i = 0; i < TIMES; i++) {
        CHECK_EQ(mt_inject_uffd(pid, pid, pidfd, LIMIT_MS, &out), MT_INJECT_OK);
        CHECK(out.uffd >= 0 && out.tid == pid && out.stop_ns > 0);
        CHECK_EQ(mt_uffd_api(out.uffd), 0);
        mt_mapping items[2] = {{.start = (uintptr_t)pages, .end = (uintptr_t)pages + 8 * MT_PAGE},
                               {.start = MT_PAGE, .end = 2 * MT_PAGE}};
        uint32_t index[2] = {0, 1};
        int32_t errors[2];
        CHECK_EQ(mt_uffd_register_many(out.uffd, items, index, 2, errors), 1);
        CHECK(errors[0] == 0 && errors[1] > 0);
        CHECK_EQ(mt_uffd_unregister(out.uffd, items[0].start, 8 * MT_PAGE), 0);
        close(out.uffd);
    }
    CHECK_EQ(waitpid(pid, 0, WNOHANG), 0);
}

static void test_refusals(int pid, int pidfd) {
    mt_injection out;
    CHECK_EQ(mt_inject_uffd(pid, pid, -1, LIMIT_MS, &out), MT_INJECT_FETCH);
    CHECK_EQ(out.error, EBADF);
    int other = fork();
    if (other == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    /* A number that has come to mean another process: not the one that the pidfd holds. */
    CHECK_EQ(mt_inject_uffd(pid, other, pidfd, LIMIT_MS, &out), MT_INJECT_GONE);
    kill(other, SIGKILL);
    CHECK_EQ(waitpid(other, 0, 0), other);
    CHECK_EQ(mt_inject_uffd(other, other, pidfd, LIMIT_MS, &out), MT_INJECT_GONE);
    CHECK_EQ(out.uffd, -1);
    CHECK_EQ(mt_may_trace(pid), 0);
    CHECK_EQ(mt_may_trace(other), -ESRCH);
    CHECK_EQ(mt_may_fetch(pidfd), 0);
}

static void test_find_code(int pid) {
    uint64_t found = 0;
    mt_maps *maps = mt_maps_new();
    CHECK_EQ(mt_read_layout(pid, pid, maps), 0);
    CHECK_EQ(mt_find_code(maps, pid, "\x0f\x05", 2, &found), 1);
    CHECK(found != 0);
    CHECK_EQ(mt_find_code(maps, pid, "no program text says this", 25, &found), 0);
    mt_maps_free(maps);
}

static void test_filters(void) {
    struct seccomp_data data;
    const uint32_t number = offsetof(struct seccomp_data, nr), arch = offsetof(struct seccomp_data, arch);
    const uint32_t argument = offsetof(struct seccomp_data, args);
    struct sock_filter by_number[] = { /* as libseccomp writes them: kill another processor's, then a search */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 100, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 15, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 323, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter by_sums[] = { /* ((number - 3) | 16) + length & 0xff, over memory and x */
        BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0),
        BPF_STMT(BPF_STX, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 3),
        BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 16),
        BPF_STMT(BPF_ST, 1),
        BPF_STMT(BPF_LDX | BPF_MEM, 1),
        BPF_STMT(BPF_LD | BPF_MEM, 3),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_IMM, 0),
        BPF_STMT(BPF_MISC | BPF_TXA, 0),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    const size_t count = sizeof by_number / sizeof *by_number;
    CHECK_EQ(mt_filter_run(by_number, count, 15), SECCOMP_RET_ALLOW);
    CHECK_EQ(mt_filter_run(by_number, count, 323), SECCOMP_RET_ERRNO | 1);
    CHECK_EQ(mt_filter_run(by_number, count, 3), SECCOMP_RET_KILL_PROCESS); /* it asks for the argument */
    CHECK_EQ(mt_filter_run(by_number, 3, 3), SECCOMP_RET_KILL_PROCESS);     /* it has no end */
    CHECK_EQ(mt_filter_run(by_sums, sizeof by_sums / sizeof *by_sums, 7), 4 + 16 + sizeof data);
}

static void test_probes(void) {
    mt_injection out;
    CHECK(mt_probe_soft_dirty() >= 0);
    CHECK_EQ(mt_probe_userfaultfd(), 1);
    CHECK_EQ(mt_probe_wp_async(), 1);
    CHECK_EQ(mt_probe_ptrace(), 1);
    CHECK_EQ(mt_probe_inject(&out), MT_INJECT_OK);
}

int main(void) {
    char *pages = mmap(0, 8 * MT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int pid = new_target(pages), pidfd = (int)syscall(434 /* pidfd_open */, pid, 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, 0, allocate, 0), 0);
    test_injection(pid, pidfd, pages);
    test_refusals(pid, pidfd);
    test_find_code(pid);
    test_filters();
    test_probes();
    stop = 1;
    pthread_join(thread, 0);
    CHECK_EQ(waitpid(pid, 0, WNOHANG), 0);
    kill(pid, SIGKILL);
    return waitpid(pid, 0, 0) == pid ? 0 : 1;
}
