/*
 * A target that makes any system call it is told to and lives any life it is told to.
 *
 * The tests decide what is done, so they know the truth: between two answers it touches no page that it was
 * not told to touch, but those of its own stack and libc. One command a line on stdin, one line on stdout:
 * "ok VALUE" or "err ERRNO".
 *
 *   sys NR [ARGUMENTS]      a raw system call
 *   write ADDRESS PAGES     adds 1 to a word of each page
 *   read ADDRESS PAGES      looks at each page; the sum
 *   put ADDRESS HEX         writes bytes
 *   threads ADDRESS PAGES N      N threads start, share the writing, end
 *   deep PAGES              grows the stack by so many pages, writing each; the lowest address
 *   fork ADDRESS PAGES | hold ADDRESS PAGES    a child writes its copy, then ends or stays; its pid
 *   vfork ADDRESS PAGES     a child in the same address space writes, then ends
 *   vhold                   the same, but the child stays, and its parent stands still, till "go" is read
 *   thread                  a thread that only sleeps
 *   vanish                  the main thread ends; another one goes on obeying
 *   exec | texec            itself anew, called by the main thread or by another one
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define THREADS 64

struct part {
    uint64_t start, pages;
    pthread_t thread;
};

static void answer(int64_t value) {
    if (value == -1)
        printf("err %d\n", errno);
    else
        printf("ok %lu\n", (unsigned long)value);
    fflush(stdout);
}

/* One access, not a load and a store: the load would map the huge zero page. */
static int64_t touch(uint64_t start, uint64_t pages) {
    for (uint64_t i = 0; i < pages; i++)
        __atomic_fetch_add((uint64_t *)(start + i * PAGE + i * 8 % PAGE), 1, __ATOMIC_RELAXED);
    return 0;
}

static void *touch_part(void *argument) {
    struct part *part = argument;
    touch(part->start, part->pages);
    return NULL;
}

static int64_t look(uint64_t start, uint64_t pages) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < pages; i++)
        sum += *(volatile unsigned char *)(start + i * PAGE);
    return (int64_t)sum;
}

static int64_t put(char *at, const char *hex) {
    for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        *at++ = (char)byte;
    return 0;
}

static int64_t threads(uint64_t start, uint64_t pages, uint64_t count) {
    struct part parts[THREADS];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t from = pages * i / count, to = pages * (i + 1) / count;
        parts[i] = (struct part){.start = start + from * PAGE, .pages = to - from};
        if (pthread_create(&parts[i].thread, NULL, touch_part, &parts[i]))
            return -1;
    }
    for (uint64_t i = 0; i < count; i++)
        pthread_join(parts[i].thread, NULL);
    return 0;
}

__attribute__((noinline)) static int64_t deep(uint64_t pages) {
    volatile char here[PAGE];
    here[0] = 1;
    int64_t lowest = pages > 1 ? deep(pages - 1) : (int64_t)(uintptr_t)here;
    here[PAGE - 1] = 1; /* no tail call */
    return lowest;
}

static int64_t forked(uint64_t start, uint64_t pages, int stays) {
    int done[2];
    char byte;
    if (pipe(done))
        return -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        touch(start, pages);
        if (write(done[1], "", 1) == 1 && stays)
            pause();
        _exit(0);
    }
    close(done[1]);
    int wrote = read(done[0], &byte, 1) == 1;
    close(done[0]);
    if (!stays)
        waitpid(child, NULL, 0);
    return wrote ? child : -1;
}

static int64_t vforked(uint64_t start, uint64_t pages, int stays) {
    static char line[8];
    pid_t child = vfork();
    if (child == 0) {
        touch(start, pages);
        if (stays && (write(1, "ok 0\n", 5) != 5 || read(0, line, 3) != 3))
            _exit(1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return child;
}

static void *sleeps(void *unused) {
    for (;;)
        pause();
    return unused;
}

static void *execs(void *unused) {
    execl("/proc/self/exe", "life", NULL);
    return unused;
}

static void obey(char *line);

static void *serve(void *vanished) {
    static char line[1 << 16];
    if (vanished)
        answer(0);
    while (fgets(line, sizeof line, stdin))
        obey(line);
    exit(0);
}

static int64_t start_thread(void *(*what)(void *)) {
    pthread_t thread;
    errno = pthread_create(&thread, NULL, what, "");
    return errno ? -1 : 0;
}

static void obey(char *line) {
    char *rest = line, *verb = strtok_r(line, " \n", &rest), *word = rest;
    uint64_t a[7] = {0};
    int n = 0;
    for (char *next = rest; n < 7 && (a[n] = strtoull(next, &rest, 0), rest != next); next = rest)
        n++;
    errno = EINVAL;
    if (!strcmp(verb, "sys"))
        answer(syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
    else if (!strcmp(verb, "write"))
        answer(touch(a[0], a[1]));
    else if (!strcmp(verb, "read"))
        answer(look(a[0], a[1]));
    else if (!strcmp(verb, "put"))
        answer(put((char *)(uintptr_t)a[0], strchr(word, ' ') + 1));
    else if (!strcmp(verb, "threads"))
        answer(threads(a[0], a[1], a[2]));
    else if (!strcmp(verb, "deep"))
        answer(deep(a[0]));
    else if (!strcmp(verb, "fork") || !strcmp(verb, "hold"))
        answer(forked(a[0], a[1], *verb == 'h'));
    else if (!strcmp(verb, "vfork") || !strcmp(verb, "vhold"))
        answer(vforked(a[0], a[1], verb[1] == 'h'));
    else if (!strcmp(verb, "thread"))
        answer(start_thread(sleeps));
    else if (!strcmp(verb, "vanish") && !start_thread(serve))
        syscall(SYS_exit, 0);
    else if (!strcmp(verb, "exec"))
        answer((int64_t)(uintptr_t)execs(NULL) - 1);
    else if (!strcmp(verb, "texec") && !start_thread(execs))
        sleeps(NULL);
    else
        answer(-1);
}

int main(void) {
    setvbuf(stdin, NULL, _IONBF, 0);  /* a byte that is for a child stays in the pipe */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed test leaves nothing behind */
    answer(getpid());
    serve(NULL);
}
