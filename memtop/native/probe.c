/* What this kernel really does, tried out in a forked child on memory of its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "core.h"
#include "scan.h"
#include "uffd.h"

#define SET_VMA 0x53564d41
#define SET_VMA_ANON_NAME 0
#define PROBE_MS 10000 /* a machine with much to do is no kernel that lacks something */
#define STOP_MS 2000

/* Runs probe in a child.  Its answer, 0, 1 or -errno, travels in the exit status. */
static int in_child(int (*probe)(void)) {
    int status, pid = mt_child_fork();
    if (pid == 0) {
        int answer = probe();
        _exit(answer < 0 ? 1 - answer : answer);
    }
    if (pid < 0)
        return pid;
    int ended = mt_child_wait(pid, PROBE_MS, &status);
    if (ended == 0) {
        mt_child_kill(pid);
        return -ETIMEDOUT;
    }
    if (ended < 0)
        return ended;
    if (!WIFEXITED(status))
        return -EPERM; /* a sandbox that kills for what it does not allow */
    return WEXITSTATUS(status) > 1 ? 1 - WEXITSTATUS(status) : WEXITSTATUS(status);
}

static volatile char *new_pages(size_t count) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void *pages = mmap(0, count * MT_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    return pages == MAP_FAILED ? 0 : pages;
}

/* ---- soft-dirty --------------------------------------------------------------------------------- */

static int entry_of(int pagemap, const volatile void *page, uint64_t *entry) {
    off_t at = (off_t)((uintptr_t)page / MT_PAGE * sizeof *entry);
    ssize_t got = pread(pagemap, entry, sizeof *entry, at);
    return got == sizeof *entry ? 0 : got < 0 ? -errno : -EIO;
}

/* Without the feature the kernel takes the command and never sets the bit. */
static int soft_dirty(void) {
    uint64_t cleared, written;
    volatile char *page = new_pages(1);
    int clear = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (!page || clear < 0)
        return -errno;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        return -errno;
    *page = 1;
    if (write(clear, "4", 1) != 1)
        return -errno;
    int error = entry_of(pagemap, page, &cleared);
    *page = 2;
    if (error == 0)
        error = entry_of(pagemap, page, &written);
    return error ? error : !(cleared & ENTRY_SOFT_DIRTY) && (written & ENTRY_SOFT_DIRTY);
}

int mt_probe_soft_dirty(void) { return in_child(soft_dirty); }

/* ---- userfaultfd -------------------------------------------------------------------------------- */

static int userfaultfd(void) {
    return syscall(SYS_userfaultfd, UFFD_FLAGS) < 0 ? -errno : 1;
}

int mt_probe_userfaultfd(void) { return in_child(userfaultfd); }

/* Gets and clears the written pages of two; how many they were, or -errno. */
static int scan_two(int pagemap, volatile char *pages) {
    page_region regions[2];
    scan_arg arg = {
        .size = sizeof arg,
        .flags = SCAN_WP_MATCHING,
        .start = (uintptr_t)pages,
        .end = (uintptr_t)pages + 2 * MT_PAGE,
        .vec = (uintptr_t)regions,
        .vec_len = 2,
        .category_mask = PAGE_WRITTEN,
        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
        .return_mask = PAGE_WRITTEN,
    };
    int found = ioctl(pagemap, SCAN_IOCTL, &arg), count = 0;
    for (int i = 0; i < found; i++)
        count += (int)((regions[i].end - regions[i].start) / MT_PAGE);
    return found < 0 ? -errno : count;
}

static int wp_async(void) {
    volatile char *pages = new_pages(2);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (!pages || pagemap < 0)
        return -errno;
    int uffd = (int)syscall(SYS_userfaultfd, UFFD_FLAGS);
    if (uffd < 0)
        return -errno;
    int error = mt_uffd_api(uffd);
    if (error == -EINVAL)
        return 0; /* the feature is unknown */
    if (error == 0)
        error = mt_uffd_register(uffd, (uintptr_t)pages, 2 * MT_PAGE);
    if (error == 0)
        error = scan_two(pagemap, pages);
    if (error < 0)
        return error == -ENOTTY ? 0 : error;
    pages[MT_PAGE] = 1;
    return scan_two(pagemap, pages) == 1;
}

int mt_probe_wp_async(void) { return in_child(wp_async); }

/* ---- ptrace ------------------------------------------------------------------------------------- */

/* A child to try things on, which ends with its parent; its pid, or -errno. */
static int waiting_child(void) {
    int pid = mt_child_fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return pid;
}

/* The tracer is not memtop itself, so that no signal or wait of memtop's has to do with it. */
static int seize(void) {
    int pid = waiting_child();
    if (pid < 0)
        return pid;
    int answer = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 ? 1 : -errno;
    mt_child_kill(pid);
    return answer;
}

int mt_probe_ptrace(void) { return in_child(seize); }

int mt_probe_inject(mt_injection *out) {
    int pid = waiting_child();
    *out = (mt_injection){.uffd = -1, .stage = MT_INJECT_FORK, .error = -pid};
    if (pid < 0)
        return out->stage;
    int pidfd = (int)syscall(MT_NR_PIDFD_OPEN, pid, 0);
    if (pidfd < 0)
        *out = (mt_injection){.uffd = -1, .stage = MT_INJECT_FETCH, .error = errno};
    else
        mt_inject_uffd(pid, pid, pidfd, STOP_MS, out);
    mt_child_kill(pid);
    if (out->uffd >= 0)
        close(out->uffd);
    if (pidfd >= 0)
        close(pidfd);
    return out->stage;
}

/* process_vm_readv(2) makes the same check as ptrace(2), before it looks at the address. */
int mt_may_trace(int tid) {
    char byte;
    struct iovec here = {&byte, 1}, nowhere = {0, 1};
    ssize_t got = process_vm_readv(tid, &here, 1, &nowhere, 1, 0);
    return got >= 0 || errno == EFAULT ? 0 : -errno;
}

/* pidfd_getfd(2) too, before it looks for the descriptor. */
int mt_may_fetch(int pidfd) {
    long got = syscall(MT_NR_PIDFD_GETFD, pidfd, -1, 0);
    return got >= 0 || errno == EBADF ? 0 : -errno;
}

int mt_name_anonymous(uint64_t start, uint64_t length, const char *name) {
    return prctl(SET_VMA, SET_VMA_ANON_NAME, start, length, name) == 0 ? 0 : -errno;
}
