/*
 * A target that does what it is told and tells exactly which pages it wrote.
 *
 * One command a line on stdin, one line on stdout: "ok ..." or "err ...".  The answer to a command
 * that writes is "ok RUNS", followed by RUNS binary records {u64 start, u32 pages, u32 0}: the set of
 * pages written by that command, sorted.  Between two commands it touches none of its areas, so a
 * tick of memtop between two answers sees exactly what the log says.
 *
 *   map AREA anon|shared|memfd|private-memfd|private-file|shared-file|thp|hugetlb|none PAGES
 *   write AREA sequential|alternate|random|once|paced PAGES THREADS SEED
 *   poke AREA FIRST PAGES          write these pages          (binary answer)
 *   kernel AREA FIRST PAGES        let read(2) write them     (binary answer)
 *   read AREA                      look at every page
 *   brk AREA PAGES                 grow the heap by PAGES; the area is the whole grown part
 *   unmap AREA FIRST PAGES | again AREA | move AREA | discard AREA FIRST PAGES
 *   protect AREA r|rw|none | fork AREA PAGES | hold AREA PAGES | release
 *   exec | seccomp | nodump | vanish | quit
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ull
#define HUGE (2ull << 20)
#define AREAS 64
#define THREADS 64

struct area {
    char name[32], kind[16];
    char *start;
    uint64_t pages;
    uint64_t *touched; /* one bit a page, since the command began */
};

struct run {
    uint64_t start;
    uint32_t pages, zero;
};

struct job {
    struct area *area;
    const char *pattern;
    uint64_t first, count, seed;
    pthread_t thread;
};

static struct area areas[AREAS];
static const char *scratch; /* path of the file behind file mappings */
static pid_t held;

static int fail(const char *what) {
    printf("err %s: %s\n", what, errno ? strerror(errno) : "bad command");
    return -1;
}

static int ok(const struct area *a) {
    printf("ok %#lx %lu\n", (unsigned long)a->start, (unsigned long)a->pages);
    return 0;
}

static struct area *find(const char *name) {
    for (int i = 0; i < AREAS; i++)
        if (areas[i].start && !strcmp(areas[i].name, name)) return &areas[i];
    return NULL;
}

static struct area *add(const char *name, const char *kind, void *start, uint64_t pages) {
    for (int i = 0; i < AREAS; i++) {
        struct area *a = &areas[i];
        if (a->start) continue;
        snprintf(a->name, sizeof a->name, "%s", name);
        snprintf(a->kind, sizeof a->kind, "%s", kind);
        a->start = start;
        a->pages = pages;
        a->touched = calloc((pages + 63) / 64, 8);
        return a;
    }
    return NULL;
}

static void drop(struct area *a) {
    free(a->touched);
    memset(a, 0, sizeof *a);
}

/* The log comes first: a page is never written without being in it.  One access, not a load and a store: the
 * load would map the huge zero page, which older kernels then split rather than replace. */
static void touch(struct area *a, uint64_t page) {
    __atomic_fetch_or(&a->touched[page / 64], 1ull << (page % 64), __ATOMIC_RELAXED);
    uint64_t *word = (uint64_t *)(a->start + page * PAGE + (page * 8) % PAGE);
    __atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
}

static int tell(struct area *a) {
    uint64_t room = 0, n = 0, i = 0;
    struct run *runs = NULL;
    while (i < a->pages) {
        if (!(a->touched[i / 64] >> (i % 64) & 1)) {
            i++;
            continue;
        }
        uint64_t first = i;
        while (i < a->pages && a->touched[i / 64] >> (i % 64) & 1) i++;
        if (n == room) runs = realloc(runs, (room = room ? 2 * room : 1024) * sizeof *runs);
        runs[n++] = (struct run){(uint64_t)a->start + first * PAGE, (uint32_t)(i - first), 0};
    }
    memset(a->touched, 0, (a->pages + 63) / 64 * 8);
    printf("ok %lu\n", (unsigned long)n);
    fwrite(runs, sizeof *runs, n, stdout);
    free(runs);
    return 0;
}

static void *work(void *argument) {
    struct job *job = argument;
    uint64_t pages = job->area->pages, state = job->seed * 0x9E3779B97F4A7C15ull + job->first + 1;
    for (uint64_t i = job->first; i < job->first + job->count; i++) {
        uint64_t page = job->seed + i; /* sequential */
        if (*job->pattern == 'a') page = job->seed + 2 * i;
        if (*job->pattern == 'p' && i % 64 == 0) usleep(1000); /* paced: as once, but it takes a while */
        if (*job->pattern == 'o' || *job->pattern == 'p') page = i * 0x9E3779B1ull; /* odd: once each, where pages is a power of two */
        if (*job->pattern == 'r') {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            page = state >> 11;
        }
        touch(job->area, page % pages);
    }
    return NULL;
}

static int do_write(struct area *a, const char *pattern, uint64_t count, unsigned threads, uint64_t seed) {
    struct job jobs[THREADS];
    if (!threads || threads > THREADS || !strchr("saorp", *pattern)) return errno = 0, fail("write");
    for (unsigned t = 0; t < threads; t++) {
        uint64_t from = count * t / threads, to = count * (t + 1) / threads;
        jobs[t] = (struct job){.area = a, .pattern = pattern, .first = from, .count = to - from, .seed = seed};
        if (threads > 1 && pthread_create(&jobs[t].thread, NULL, work, &jobs[t])) return fail("thread");
    }
    if (threads == 1) work(&jobs[0]);
    for (unsigned t = 0; threads > 1 && t < threads; t++) pthread_join(jobs[t].thread, NULL);
    return tell(a);
}

/* A private or shared file mapping of a fresh file; the file is full, so that reads map real pages. */
static int file_of(uint64_t pages) {
    char zeros[PAGE];
    memset(zeros, 7, sizeof zeros);
    unlink(scratch); /* an older mapping keeps its own file */
    int fd = open(scratch, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t i = 0; fd >= 0 && i < pages; i++)
        if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros) return -1;
    return fd;
}

/* A place with PROT_NONE around it, so that no neighbour ever merges with an area. */
static char *reserve(uint64_t bytes, uint64_t align) {
    char *wide = mmap(NULL, bytes + 2 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return wide == MAP_FAILED ? NULL : (char *)(((uint64_t)wide + PAGE + align - 1) & ~(align - 1));
}

static void *make(const char *kind, uint64_t pages, void *where) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS, prot = PROT_READ | PROT_WRITE, fd = -1;
    int huge = !strcmp(kind, "thp") || !strcmp(kind, "hugetlb");
    uint64_t bytes = pages * PAGE;
    if (!where && !(where = reserve(bytes, huge ? HUGE : PAGE))) return MAP_FAILED;
    if (!strcmp(kind, "shared")) flags = MAP_SHARED | MAP_ANONYMOUS;
    if (!strcmp(kind, "none")) prot = PROT_NONE;
    if (!strcmp(kind, "hugetlb")) flags |= MAP_HUGETLB;
    if (strstr(kind, "memfd")) {
        flags = *kind == 'p' ? MAP_PRIVATE : MAP_SHARED;
        if ((fd = memfd_create("written", MFD_CLOEXEC)) < 0 || ftruncate(fd, (off_t)bytes)) return MAP_FAILED;
    }
    if (strstr(kind, "-file")) {
        flags = *kind == 'p' ? MAP_PRIVATE : MAP_SHARED;
        if ((fd = file_of(pages)) < 0) return MAP_FAILED;
    }
    char *p = mmap(where, bytes, prot, flags | MAP_FIXED, fd, 0);
    if (fd >= 0) close(fd);
    if (p != MAP_FAILED && !strcmp(kind, "thp")) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static int do_move(struct area *a) {
    uint64_t bytes = a->pages * PAGE;
    char *to = reserve(bytes, PAGE);
    if (!to) return fail("mmap");
    to = mremap(a->start, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (to == MAP_FAILED) return fail("mremap");
    a->start = to;
    return ok(a);
}

/* The child writes its own copy; the parent's pages stay as they are. */
static int do_fork(struct area *a, uint64_t pages, int hold) {
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC)) return fail("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return fail("fork");
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (uint64_t i = 0; i < pages; i++) ((volatile char *)a->start)[i * PAGE] += 1;
        if (write(ready[1], "", 1) == 1 && hold) pause();
        _exit(0);
    }
    close(ready[1]);
    ssize_t got = read(ready[0], &byte, 1);
    close(ready[0]);
    if (hold)
        held = child;
    else
        waitpid(child, NULL, 0);
    if (got != 1) return fail("child");
    printf("ok %d %lu\n", child, (unsigned long)a->pages);
    return 0;
}

/* As strict as a container's default: the process dies if anything makes it call userfaultfd. */
static int do_seccomp(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the system call's number */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return fail("seccomp");
    return puts("ok 0 0"), 0;
}

static int do_brk(const char *name, uint64_t pages) {
    struct area *a = find(name);
    char *old = a ? a->start : (char *)(((uint64_t)sbrk(0) + PAGE - 1) & ~(PAGE - 1));
    uint64_t total = (a ? a->pages : 0) + pages;
    if (brk(old + total * PAGE)) return fail("brk");
    if (a) drop(a);
    return ok(add(name, "heap", old, total));
}

static int change(struct area *a, char *verb, char *w1, char *w2) {
    uint64_t first = w1 ? strtoull(w1, NULL, 0) : 0, pages = w2 ? strtoull(w2, NULL, 0) : 0;
    char *at = a->start + first * PAGE;
    if (!strcmp(verb, "poke")) {
        for (uint64_t i = first; i < first + pages; i++) touch(a, i);
        return tell(a);
    }
    if (!strcmp(verb, "kernel")) {
        int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        for (uint64_t i = first; i < first + pages; i++) a->touched[i / 64] |= 1ull << (i % 64);
        ssize_t got = read(fd, at, pages * PAGE);
        close(fd);
        return got == (ssize_t)(pages * PAGE) ? tell(a) : fail("read");
    }
    if (!strcmp(verb, "read")) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < a->pages; i++) sum += ((volatile unsigned char *)a->start)[i * PAGE];
        return printf("ok %lu 0\n", (unsigned long)sum), 0;
    }
    if (!strcmp(verb, "discard")) return madvise(at, pages * PAGE, MADV_DONTNEED) ? fail(verb) : ok(a);
    if (!strcmp(verb, "protect")) {
        int prot = !strcmp(w1, "r") ? PROT_READ : !strcmp(w1, "rw") ? PROT_READ | PROT_WRITE : PROT_NONE;
        return mprotect(a->start, a->pages * PAGE, prot) ? fail(verb) : ok(a);
    }
    if (!strcmp(verb, "unmap")) {
        if (munmap(at, pages * PAGE)) return fail(verb);
        printf("ok %#lx %lu\n", (unsigned long)at, (unsigned long)pages);
        if (pages == a->pages) drop(a);
        return 0;
    }
    if (!strcmp(verb, "again")) { /* the same text in maps, but all new behind it */
        if (munmap(a->start, a->pages * PAGE)) return fail(verb);
        return make(a->kind, a->pages, a->start) == a->start ? ok(a) : fail(verb);
    }
    if (!strcmp(verb, "move")) return do_move(a);
    if (!strcmp(verb, "fork") || !strcmp(verb, "hold")) return do_fork(a, first, *verb == 'h');
    return errno = 0, fail(verb);
}

static void *serve(void *vanished);

static int obey(char *line) {
    char *word[8] = {0}, *rest = line;
    int n = 0;
    errno = 0;
    while (n < 8 && (word[n] = strtok_r(rest, " \n", &rest))) n++;
    if (!n) return errno = 0, fail("empty line");
    if (!strcmp(word[0], "quit")) exit(0);
    if (!strcmp(word[0], "vanish")) { /* the leader ends, a thread lives on: a zombie leader */
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, "")) return fail(word[0]);
        syscall(SYS_exit, 0);
    }
    if (!strcmp(word[0], "exec")) { /* itself anew: same pid, another address space */
        execl("/proc/self/exe", "writer", scratch, NULL);
        return fail(word[0]);
    }
    if (!strcmp(word[0], "seccomp")) return do_seccomp();
    if (!strcmp(word[0], "nodump")) return prctl(PR_SET_DUMPABLE, 0), puts("ok 0 0"), 0;
    if (!strcmp(word[0], "release")) {
        if (held && (kill(held, SIGKILL) || waitpid(held, NULL, 0) < 0)) return fail("release");
        return held = 0, puts("ok 0 0"), 0;
    }
    if (n < 2) return errno = 0, fail(word[0]);
    if (!strcmp(word[0], "brk") && n == 3) return do_brk(word[1], strtoull(word[2], NULL, 0));
    struct area *a = find(word[1]);
    if (!strcmp(word[0], "map") && n == 4 && !a) {
        uint64_t pages = strtoull(word[3], NULL, 0);
        void *p = make(word[2], pages, NULL);
        return p == MAP_FAILED ? fail("mmap") : ok(add(word[1], word[2], p, pages));
    }
    if (!a) return errno = 0, fail("no such area");
    if (!strcmp(word[0], "write") && n == 6)
        return do_write(a, word[2], strtoull(word[3], NULL, 0), (unsigned)atoi(word[4]), strtoull(word[5], NULL, 0));
    return change(a, word[0], word[2], word[3]);
}

static void *serve(void *vanished) {
    char line[256];
    if (vanished) puts("ok 0 0");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        obey(line);
        fflush(stdout);
    }
    unlink(scratch);
    exit(0);
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: writer SCRATCH-FILE\n"), 2;
    scratch = argv[1];
    mallopt(M_MMAP_THRESHOLD, 0); /* brk is ours */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed test leaves nothing behind */
    printf("ok %d 0\n", getpid());
    serve(NULL);
}
