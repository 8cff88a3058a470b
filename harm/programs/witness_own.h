/* Of witness.c: what is the program's own, put down and looked at again: registers, stack, signals, descriptors. */

/* ---- registers ---------------------------------------------------------------------------------- */

static int wide; /* AVX-512, else AVX2 */

static void fill(struct hold *h, uint64_t seed)
{
    static const size_t from = offsetof(struct hold, general_in);
    for (uint64_t *p = (void *)((char *)h + from); p < (uint64_t *)h->general_out; p++)
        *p = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    for (size_t i = 0; i < sizeof h->vector_in / 8; i++)
        ((uint64_t *)h->vector_in)[i] = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    for (size_t i = 0; i < 8; i++)
        h->mask_in[i] = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    for (size_t i = 0; i < 16; i++)
        h->zone_in[i] = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    h->x87_in = (double)(seed >> 11);
}

static void compare(const struct hold *h, const char *doing)
{
    static const char *const names[] = {"rdi", "rsi", "rdx", "r10", "r8", "r9", "rbx",
                                        "rbp", "r12", "r13", "r14", "r15", "rcx", "r11"};
    int spun = h->number == SPIN;
    for (int i = 0; i < (spun ? 14 : 12); i++)
        if (h->general_in[i] != h->general_out[i])
            harmed("%s: %s was %llx, is %llx", doing, names[i], (long long)h->general_in[i],
                   (long long)h->general_out[i]);
    for (int i = 0; i < (wide ? 32 : 16); i++)
        if (memcmp(h->vector_in[i], h->vector_out[i], wide ? 64 : 32) != 0)
            harmed("%s: vector register %d changed", doing, i);
    for (int i = 0; wide && i < 8; i++)
        if (h->mask_in[i] != h->mask_out[i])
            harmed("%s: mask register k%d changed", doing, i);
    for (int i = 0; i < 16; i++)
        if (h->zone_in[i] != h->zone_out[i])
            harmed("%s: red zone at -%d changed", doing, 128 - i * 8);
    if (spun && (h->flags_out & 0x401) != 0x401) /* direction and carry */
        harmed("%s: flags are %llx", doing, (long long)h->flags_out);
    if (h->mxcsr_out != MXCSR || h->x87_control_out != X87_CONTROL || h->x87_out != h->x87_in)
        harmed("%s: floating point state changed", doing);
}

/* number(arguments) with everything at stake; SPIN: no call.  Its result, as from the kernel. */
static int64_t run(struct hold *h, uint64_t seed, const char *doing, int64_t number, uint64_t a, uint64_t b,
                   uint64_t c, uint64_t d)
{
    fill(h, seed);
    h->number = number;
    if (number != SPIN) {
        uint64_t arguments[6] = {a, b, c, d, 0, 0};
        memcpy(h->general_in, arguments, sizeof arguments);
    }
    (wide ? hold_512 : hold_256)(h);
    compare(h, doing);
    return h->result;
}

/* ---- what else is the program's own -------------------------------------------------------------- */

static struct { int fd, flags; dev_t device; ino_t inode; } table[FDS];
static void on_alarm(int number);
static void on_trap(int number) { (void)number; }

static void remember_table(void)
{
    struct stat s;
    for (int fd = 0; fd < FDS; fd++) {
        table[fd].fd = fstat(fd, &s) == 0 ? fd : -1;
        if (table[fd].fd >= 0) {
            table[fd].flags = fcntl(fd, F_GETFD);
            table[fd].device = s.st_dev;
            table[fd].inode = s.st_ino;
        }
    }
}

static void check_table(void)
{
    struct stat s;
    for (int fd = 0; fd < FDS; fd++)
        if (table[fd].fd >= 0)
            MUST(fstat(fd, &s) == 0 && s.st_dev == table[fd].device && s.st_ino == table[fd].inode &&
                 fcntl(fd, F_GETFD) == table[fd].flags);
}

struct lane {
    struct hold hold;
    int index;
    void *alternate;
    uint64_t seed;
};

#define ALTERNATE 65536

static void enter(struct lane *lane)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGTRAP);
    MUST(pthread_sigmask(SIG_SETMASK, &blocked, 0) == 0);
    MUST((lane->alternate = malloc(ALTERNATE)) != 0);
    stack_t stack = {.ss_sp = lane->alternate, .ss_size = ALTERNATE};
    MUST(sigaltstack(&stack, 0) == 0);
    lane->seed = 77 + (uint64_t)lane->index;
}

static void check(struct lane *lane)
{
    uint64_t mask = 0, expected = 1ull << (SIGUSR2 - 1) | 1ull << (SIGTRAP - 1);
    stack_t stack;
    struct sigaction action;
    MUST(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, 8) == 0);
    if (mask != expected)
        harmed("signal mask is %llx", (long long)mask);
    MUST(sigaltstack(0, &stack) == 0);
    if (stack.ss_sp != lane->alternate || stack.ss_size != ALTERNATE || stack.ss_flags != 0)
        harmed("sigaltstack is %p, %zu bytes, flags %x", stack.ss_sp, stack.ss_size, stack.ss_flags);
    MUST(sigaction(SIGTRAP, 0, &action) == 0 && action.sa_handler == on_trap);
    MUST(sigaction(SIGSEGV, 0, &action) == 0 && action.sa_handler == SIG_DFL);
    MUST(sigaction(SIGALRM, 0, &action) == 0 && action.sa_handler == on_alarm);
    check_table();
    lane->seed++;
    state->rounds[lane->index]++;
}
