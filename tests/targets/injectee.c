/* A program that notices what an injection does to it: injectee MODE STATE_FILE.
 *
 * Each round it makes one system call (or computes) and checks what comes back.  STATE_FILE is shared with
 * the test: rounds so far, a flag to stop, a count that the mode explains.  Exit code 0: nothing was ever
 * wrong; else a line on stderr says what was. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile struct {
    uint64_t rounds, stop, count;
} *state;

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d round %lu: %s (errno %s)\n", __FILE__, __LINE__, (unsigned long)state->rounds, \
                    #condition, strerror(errno)); \
            exit(1); \
        } \
    } while (0)

#define WAIT_NS 3000000ll
static const struct timespec wait_time = {0, WAIT_NS};

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void not_early(int64_t begin) { MUST(now() - begin >= WAIT_NS); }

#include "injectee_waits.h"

/* ---- computing ------------------------------------------------------------------------------- */

/* All general registers (rcx and r11 too, which a system call changes), the vector registers, the flags and
 * the red zone hold known values while the loop runs. */
static void round_registers(void) {
    uint64_t seed = state->rounds * 0x9e3779b97f4a7c15ull | 1, wrong;
    __asm__ volatile(
        "sub $256, %%rsp\n"
        "mov %1, %%rax\n mov %1, %%rbx\n mov %1, %%rcx\n mov %1, %%rdx\n mov %1, %%rsi\n mov %1, %%rdi\n"
        "mov %1, %%r8\n mov %1, %%r9\n mov %1, %%r10\n mov %1, %%r11\n mov %1, %%r12\n mov %1, %%r13\n"
        "movq %1, %%xmm0\n movq %1, %%xmm7\n movq %1, %%xmm15\n"
        "mov %1, -8(%%rsp)\n mov %1, -128(%%rsp)\n mov %1, -64(%%rsp)\n"
        "mov $300000, %%r14d\n"
        "1: std\n stc\n dec %%r14\n jnc 2f\n"      /* dec leaves the carry alone */
        "cmp %%rax, %%rbx\n jne 2f\n cmp %%rax, %%rcx\n jne 2f\n cmp %%rax, %%rdx\n jne 2f\n"
        "cmp %%rax, %%rsi\n jne 2f\n cmp %%rax, %%rdi\n jne 2f\n cmp %%rax, %%r8\n jne 2f\n"
        "cmp %%rax, %%r9\n jne 2f\n cmp %%rax, %%r10\n jne 2f\n cmp %%rax, %%r11\n jne 2f\n"
        "cmp %%rax, %%r12\n jne 2f\n cmp %%rax, %%r13\n jne 2f\n"
        "cmp -8(%%rsp), %%rax\n jne 2f\n cmp -64(%%rsp), %%rax\n jne 2f\n cmp -128(%%rsp), %%rax\n jne 2f\n"
        "movq %%xmm0, %%r13\n cmp %%rax, %%r13\n jne 2f\n movq %%xmm7, %%r13\n cmp %%rax, %%r13\n jne 2f\n"
        "movq %%xmm15, %%r13\n cmp %%rax, %%r13\n jne 2f\n"
        "test %%r14, %%r14\n jnz 1b\n xor %%r15d, %%r15d\n jmp 3f\n"
        "2: mov $1, %%r15d\n"
        "3: cld\n add $256, %%rsp\n mov %%r15, %0\n"
        : "=r"(wrong)
        : "r"(seed)
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "xmm0", "xmm7", "xmm15", "memory", "cc");
    MUST(!wrong);
}

static void on_alarm(int number) {
    static volatile uint64_t nested;
    MUST(nested++ == 0);
    state->count++;
    nested--;
    (void)number;
}

static void pass(void) {
    struct timespec left = wait_time;
    while (nanosleep(&left, &left) != 0)
        MUST(errno == EINTR);
}

/* 5 kHz of SIGALRM on an alternate stack, under all of the above. */
static void round_alarm(void) {
    static char room[65536];
    static int started;
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room}, after;
    if (!started++) {
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
        struct itimerval every = {{0, 200}, {0, 200}};
        MUST(sigaltstack(&stack, 0) == 0 && sigaction(SIGALRM, &action, 0) == 0);
        MUST(setitimer(ITIMER_REAL, &every, 0) == 0);
    }
    round_registers();
    MUST(sigaltstack(0, &after) == 0 && after.ss_sp == room && after.ss_flags == 0);
    pass();
}

/* Signals that queue: each that was sent is handled once. */
static void on_counted(int number) { state->count++; (void)number; }

static void round_counted(void) {
    static int started;
    if (!started++)
        signal(SIGRTMIN, on_counted);
    pass();
}

/* A handler that is at work nearly all the time, on an alternate stack carved out of the main thread's own, with
 * live data right below and above; and 5 kHz of another that shares it. */
#define CARVED 16384
#define LIVE 4096 /* words */

static void fill(volatile uint64_t *words, uint64_t seed) {
    for (size_t i = 0; i < LIVE; i++)
        words[i] = seed ^ i;
}

static void is_filled(volatile uint64_t *words, uint64_t seed) {
    for (size_t i = 0; i < LIVE; i++)
        MUST(words[i] == (seed ^ i));
}

static void on_work(int number) {
    volatile uint64_t own[256];
    for (size_t i = 0; i < 256; i++)
        own[i] = state->rounds ^ i;
    round_registers();
    pass();
    for (size_t i = 0; i < 256; i++)
        MUST(own[i] == (state->rounds ^ i));
    (void)number;
}

static void round_carved(void) {
    struct { volatile uint64_t below[LIVE]; char stack[CARVED]; volatile uint64_t above[LIVE]; } own;
    stack_t stack = {.ss_sp = own.stack, .ss_size = CARVED}, after;
    struct sigaction work = {.sa_handler = on_work, .sa_flags = SA_ONSTACK};
    struct sigaction alarm = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    fill(own.below, state->rounds);
    fill(own.above, state->rounds + 1);
    MUST(sigaltstack(&stack, 0) == 0 && sigaction(SIGUSR1, &work, 0) == 0 && sigaction(SIGALRM, &alarm, 0) == 0);
    MUST(setitimer(ITIMER_REAL, &every, 0) == 0);
    raise(SIGUSR1);
    MUST(setitimer(ITIMER_REAL, &never, 0) == 0);
    is_filled(own.below, state->rounds);
    is_filled(own.above, state->rounds + 1);
    MUST(sigaltstack(0, &after) == 0 && after.ss_sp == own.stack && after.ss_flags == 0);
}

/* All of its stack was in use once. */
static void __attribute__((noinline)) descend(int steps) {
    volatile char step[2048];
    step[0] = step[sizeof step - 1] = 1;
    if (steps > 0)
        descend(steps - 1);
    step[0] = 2; /* no tail call */
}

static void round_deep(void) {
    static int started;
    if (!started++)
        descend(150);
    round_nanosleep();
}

/* A restartable sequence that lasts: whoever was interrupted in it must not get to its end.  The kernel, or
 * whoever moves the thread, clears rseq_cs when it leaves; at the end it must still be set. */
#if __GLIBC__ > 2 || __GLIBC_MINOR__ >= 35
#include <sys/rseq.h>
static void round_rseq(void) {
    static struct { uint32_t version, flags; uint64_t start, length, abort; } __attribute__((aligned(32))) section;
    uint64_t *pointer = (uint64_t *)((char *)__builtin_thread_pointer() + __rseq_offset + 8), aborted, cleared;
    MUST(__rseq_size != 0);
    __asm__ volatile(
        "lea 1f(%%rip), %%rax\n mov %%rax, 8(%[section])\n"
        "lea 2f(%%rip), %%rcx\n sub %%rax, %%rcx\n mov %%rcx, 16(%[section])\n"
        "lea 4f(%%rip), %%rax\n mov %%rax, 24(%[section])\n"
        "mov %[section], (%[pointer])\n"
        "1: mov $500000, %%ecx\n"
        "5: dec %%ecx\n jnz 5b\n"
        "mov (%[pointer]), %%rcx\n" /* still inside: only a silent clearing shows as zero here */
        "nop\n"
        "2: xor %%eax, %%eax\n jmp 3f\n"
        ".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n" /* the signature that the C library registered */
        "4: mov $1, %%eax\n mov $1, %%ecx\n"
        "3: movq $0, (%[pointer])\n"
        : "=&a"(aborted), "=&c"(cleared)
        : [section] "r"(&section), [pointer] "r"(pointer)
        : "memory", "cc");
    MUST(cleared != 0);
    state->count += aborted;
}
#else
static void round_rseq(void) { exit(77); }
#endif

/* ---- dispositions and threads ----------------------------------------------------------------- */

static void on_trap(int number) { state->count++; (void)number; }

static void round_traps(void) {
    static int started;
    struct sigaction now_trap, now_segv;
    sigset_t mask;
    if (!started++) {
        signal(SIGTRAP, on_trap);
        signal(SIGSEGV, SIG_IGN);
        sigemptyset(&mask);
        sigaddset(&mask, SIGTRAP);
        sigprocmask(SIG_BLOCK, &mask, 0);
    }
    round_nanosleep();
    sigaction(SIGTRAP, 0, &now_trap);
    sigaction(SIGSEGV, 0, &now_segv);
    sigprocmask(SIG_SETMASK, 0, &mask);
    MUST(now_trap.sa_handler == on_trap && now_segv.sa_handler == SIG_IGN && sigismember(&mask, SIGTRAP));
}

static void *sleeper(void *unused) {
    while (!state->stop)
        round_nanosleep();
    return unused;
}

static void round_threads(void) {
    static int started;
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    while (started < 64) {
        MUST(pthread_create(&thread, &small, sleeper, 0) == 0);
        started++;
    }
    round_futex();
}

/* A userfaultfd() of its own is answered by the filter with this, unless the filter is suspended. */
static void filter(uint32_t answer) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void round_filtered(void) {
    static int started;
    if (!started++)
        filter(SECCOMP_RET_KILL_PROCESS);
    round_nanosleep();
}

/* Two of them, as in a container. */
static void round_denied(void) {
    static int started;
    if (!started++) {
        filter(SECCOMP_RET_ERRNO | EPERM);
        filter(SECCOMP_RET_ALLOW);
    }
    round_nanosleep();
    round_registers();
    MUST(syscall(SYS_userfaultfd, 0) == -1 && errno == EPERM);
}

/* Its system calls may go to its own handler instead of the kernel (Wine). */
static void round_dispatched(void) {
    static char selector;
    static int started;
    if (!started++ && prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector) != 0)
        exit(77);
    round_nanosleep();
}

/* The leader ends, a thread goes on. */
static void *lone_thread(void *unused) {
    while (!state->stop) {
        round_nanosleep();
        state->rounds++;
    }
    exit(0);
    return unused;
}

static void round_leaderless(void) {
    pthread_t thread;
    MUST(pthread_create(&thread, 0, lone_thread, 0) == 0);
    pthread_exit(0);
}

/* The same, on a stack without room for anything. */
static void round_narrow(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    MUST(pthread_attr_setstacksize(&attributes, 16384) == 0);
    MUST(pthread_create(&thread, &attributes, lone_thread, 0) == 0);
    pthread_exit(0);
}

/* Both of it wait, the parent until the child of its vfork ends. */
static void round_vfork(void) {
    if (vfork() == 0) {
        syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
        for (; !state->stop; state->rounds++)
            syscall(SYS_nanosleep, &wait_time, 0);
        _exit(0);
    }
}

static const struct {
    const char *name;
    void (*round)(void);
} modes[] = {
    {"nanosleep", round_nanosleep}, {"poll", round_poll}, {"ppoll", round_ppoll}, {"epoll", round_epoll},
    {"epoll_pwait", round_epoll_pwait}, {"futex", round_futex}, {"timerfd", round_timerfd},
    {"pipe", round_pipe}, {"semtimedop", round_semtimedop}, {"sigtimedwait", round_sigtimedwait},
    {"receive", round_receive}, {"accept", round_accept}, {"wait4", round_wait4},
    {"registers", round_registers}, {"alarm", round_alarm}, {"counted", round_counted},
    {"carved", round_carved}, {"deep", round_deep}, {"rseq", round_rseq}, {"traps", round_traps},
    {"filtered", round_filtered}, {"denied", round_denied}, {"dispatched", round_dispatched},
    {"threads", round_threads}, {"leaderless", round_leaderless}, {"narrow", round_narrow}, {"vfork", round_vfork},
};

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 3)
        return 2;
    int fd = open(argv[2], O_RDWR);
    state = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (state == MAP_FAILED)
        return 2;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[1]) == 0) {
            while (!state->stop) {
                modes[i].round();
                state->rounds++;
            }
            return 0;
        }
    return 2;
}
