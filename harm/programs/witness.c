/* A program that notices what an injection does to it: witness MODE STATE_FILE.
 *
 * Every round it puts known values into all registers (general, vector, mask, x87) and into the red zone,
 * makes one system call or computes for a moment, and looks at all of them again.  Then it checks what the
 * call said, its signal mask, its alternate signal stack, its handlers, its descriptors and its stack.
 * STATE_FILE is shared with the driver: see struct state.  Harm: exit code 1, and `what` says which.  An EINTR of
 * epoll_wait is counted, and the driver says whether it may have been: any stop (SIGSTOP and SIGCONT) makes one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hold.h"

#define LANES 64
#define FDS 16

static volatile struct state {
    uint64_t stop, lanes, rounds[LANES];
    char what[256];
    uint64_t interrupted;
} *state;

static void harmed(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf((char *)state->what, sizeof state->what, format, list);
    _exit(1);
}

#define MUST(condition) \
    do { \
        if (!(condition)) \
            harmed("line %d: %s (errno %d)", __LINE__, #condition, errno); \
    } while (0)

#include "witness_own.h"

/* ---- modes ---------------------------------------------------------------------------------------- */

static struct timespec wait_time = {0, 2000000};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

#define SAID(wanted) \
    do { \
        if (result != (wanted)) \
            harmed("%s said %lld%s", __func__ + 6, (long long)result, result == -EINTR ? " (EINTR)" : ""); \
    } while (0)

static void round_compute(struct lane *l) { run(&l->hold, l->seed, "computing", SPIN, 0, 0, 0, 0); }

static void round_nanosleep(struct lane *l)
{
    int64_t begin = now();
    int64_t result = run(&l->hold, l->seed, "nanosleep", SYS_nanosleep, (uintptr_t)&wait_time, 0, 0, 0);
    SAID(0);
    MUST(now() - begin >= wait_time.tv_nsec);
}

static void round_poll(struct lane *l)
{
    int64_t begin = now();
    int64_t result = run(&l->hold, l->seed, "poll", SYS_poll, 0, 0, (uint64_t)wait_time.tv_nsec / 1000000, 0);
    SAID(0);
    MUST(now() - begin >= wait_time.tv_nsec);
}

static int epoll = -1, ends[2] = {-1, -1}, listener = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;

static void round_epoll_wait(struct lane *l)
{
    struct epoll_event event;
    int64_t begin = now();
    int64_t result = run(&l->hold, l->seed, "epoll_wait", SYS_epoll_wait, (uint64_t)epoll, (uintptr_t)&event, 1,
                         (uint64_t)wait_time.tv_nsec / 1000000);
    if (result == -EINTR) {
        __atomic_add_fetch(&state->interrupted, 1, __ATOMIC_RELAXED);
        return;
    }
    SAID(0);
    MUST(now() - begin >= wait_time.tv_nsec);
}

static void round_futex(struct lane *l)
{
    static uint32_t word;
    int64_t result = run(&l->hold, l->seed, "futex", SYS_futex, (uintptr_t)&word, 128 /* WAIT | PRIVATE */, 0,
                         (uintptr_t)&wait_time);
    SAID(-ETIMEDOUT);
}

static void round_read(struct lane *l)
{
    static unsigned char expected;
    unsigned char got = 0;
    int64_t result = run(&l->hold, l->seed, "read", SYS_read, (uint64_t)ends[0], (uintptr_t)&got, 1, 0);
    SAID(1);
    MUST(got == expected++);
}

static void round_accept(struct lane *l)
{
    int64_t result = run(&l->hold, l->seed, "accept", SYS_accept, (uint64_t)listener, 0, 0, 0);
    if (result < 0)
        SAID(0);
    close((int)result);
}

static void round_wait4(struct lane *l)
{
    int status = 0;
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        nanosleep(&wait_time, 0);
        _exit(7);
    }
    int64_t result = run(&l->hold, l->seed, "wait4", SYS_wait4, (uint64_t)child, (uintptr_t)&status, 0, 0);
    SAID(child);
    MUST(status == 7 << 8);
}

static volatile uint64_t alarms;
static struct lane *storm_lane;

static void on_alarm(int number)
{
    char here;
    static volatile int inside;
    MUST(inside++ == 0);
    if (&here < (char *)storm_lane->alternate || &here >= (char *)storm_lane->alternate + ALTERNATE)
        harmed("a signal was handled off the alternate stack");
    alarms++;
    inside--;
    (void)number;
}

/* 5 kHz of SIGALRM on an alternate stack.  The round takes new signals to be one. */
static void round_storm(struct lane *l)
{
    static timer_t timer;
    if (!storm_lane) {
        struct itimerspec every = {{0, 200000}, {0, 200000}};
        storm_lane = l;
        MUST(timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM},
                          &timer) == 0);
        MUST(timer_settime(timer, 0, &every, 0) == 0);
    }
    uint64_t before = alarms;
    while (alarms < before + 3) {
        round_compute(l);
        int64_t result = run(&l->hold, l->seed, "nanosleep", SYS_nanosleep, (uintptr_t)&wait_time, 0, 0, 0);
        MUST(result == 0 || result == -EINTR);
    }
}

/* On stacks of 1 KiB, as those of a coroutine may be; it computes and sleeps there in turn. */
#define ROOM 1024

static void on_stack(struct lane *l, char *end)
{
    static uint64_t turn;
    struct hold *h = &l->hold;
    fill(h, l->seed);
    h->number = turn++ % 2 ? SPIN : SYS_nanosleep;
    if (h->number != SPIN) {
        uint64_t arguments[6] = {(uintptr_t)&wait_time};
        memcpy(h->general_in, arguments, sizeof arguments);
    }
    hold_on(end, wide ? hold_512 : hold_256, h);
    compare(h, "on a small stack");
    MUST(h->number == SPIN || h->result == 0);
}

/* One that lies between other memory in use, as a goroutine's does. */
static void round_small(struct lane *l)
{
    static struct { uint64_t below[4096]; char stack[ROOM]; uint64_t above[64]; } __attribute__((aligned(64))) small;
    for (size_t i = 0; i < 4096; i++)
        small.below[i] = l->seed ^ i;
    on_stack(l, small.stack + ROOM);
    for (size_t i = 0; i < 4096; i++)
        if (small.below[i] != (l->seed ^ i))
            harmed("memory below a small stack changed, %zu bytes below its end", (4096 - i) * 8);
}

/* One with a guard page below. */
static void round_guard(struct lane *l)
{
    static char *pages;
    if (!pages) {
        pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        MUST(pages != MAP_FAILED && mprotect(pages, 4096, PROT_NONE) == 0);
    }
    on_stack(l, pages + 4096 + ROOM);
}

/* ---- threads --------------------------------------------------------------------------------------- */

static void (*const mixed[])(struct lane *) = {round_nanosleep, round_poll, round_epoll_wait, round_futex};

static void *thread(void *given)
{
    struct lane *lane = given;
    enter(lane);
    for (;;) {
        mixed[lane->index % 4](lane);
        if (lane->index % 16 == 0)
            round_compute(lane);
        check(lane);
    }
    return 0;
}

static struct lane *new_lane(int index)
{
    struct lane *lane = aligned_alloc(64, (sizeof *lane + 63) & ~(size_t)63);
    MUST(lane != 0);
    memset(lane, 0, sizeof *lane);
    lane->index = index;
    return lane;
}

static void start_threads(void)
{
    pthread_t handle;
    pthread_attr_t attributes;
    wait_time.tv_nsec = 20000000;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (int i = 1; i < LANES; i++)
        MUST(pthread_create(&handle, &attributes, thread, new_lane(i)) == 0);
}

/* ---- start ----------------------------------------------------------------------------------------- */

/* Who wakes the modes that wait for another process: it connects to the listener, or writes to the pipe. */
static void start_partner(int connects)
{
    pid_t parent = getpid();
    if (fork() != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    for (unsigned char next = 0;; next++) {
        int fd = connects ? socket(AF_UNIX, SOCK_STREAM, 0) : -1;
        if (connects ? connect(fd, (void *)&address, address_size) != 0 : write(ends[1], &next, 1) != 1)
            _exit(0);
        close(fd);
        nanosleep(&wait_time, 0);
    }
}

static const struct {
    const char *name;
    void (*round)(struct lane *);
} modes[] = {
    {"compute", round_compute}, {"nanosleep", round_nanosleep}, {"poll", round_poll},
    {"epoll_wait", round_epoll_wait}, {"futex", round_futex}, {"read", round_read}, {"accept", round_accept},
    {"wait4", round_wait4}, {"storm", round_storm}, {"small", round_small}, {"guard", round_guard}, {"threads", round_compute},
};

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = argc == 3 ? open(argv[2], O_RDWR | O_CLOEXEC) : -1;
    state = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (state == MAP_FAILED)
        return 2;
    __builtin_cpu_init();
    wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (!wide && !__builtin_cpu_supports("avx2"))
        return 77;
    signal(SIGALRM, SIG_IGN);
    struct sigaction alarm = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
    sigaction(SIGALRM, &alarm, 0);
    signal(SIGTRAP, on_trap);
    MUST((epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    if (strcmp(argv[1], "read") == 0) {
        MUST(pipe(ends) == 0);
        start_partner(0);
    } else if (strcmp(argv[1], "accept") == 0) {
        address_size = sizeof(sa_family_t); /* any free abstract name */
        MUST((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
        MUST(bind(listener, (void *)&address, address_size) == 0 && listen(listener, 16) == 0);
        address_size = sizeof address;
        MUST(getsockname(listener, (void *)&address, &address_size) == 0);
        start_partner(1);
    }
    remember_table();
    state->lanes = strcmp(argv[1], "threads") == 0 ? LANES : 1;
    struct lane *lane = new_lane(0);
    enter(lane);
    if (strcmp(argv[1], "threads") == 0)
        start_threads();
    volatile uint64_t above[512]; /* the caller's part of the stack */
    for (size_t i = 0; i < 512; i++)
        above[i] = i * 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            while (!state->stop) {
                modes[i].round(lane);
                for (size_t j = 0; j < 512; j++)
                    MUST(above[j] == j * 0x9e3779b97f4a7c15ull);
                check(lane);
            }
    return state->stop ? 0 : 2;
}
