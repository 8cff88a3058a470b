/* Of injectee.c: the modes that are blocked in a system call. Each begins anew after a stop, or says EINTR. */

static void round_nanosleep(void) {
    int64_t begin = now();
    MUST(nanosleep(&wait_time, 0) == 0);
    not_early(begin);
}

static void round_poll(void) {
    int64_t begin = now();
    MUST(poll(0, 0, 3) == 0);
    not_early(begin);
}

static void round_ppoll(void) {
    sigset_t none;
    sigemptyset(&none);
    MUST(ppoll(0, 0, &wait_time, &none) == 0);
}

static void round_epoll(void) {
    static int epoll = -1;
    struct epoll_event event;
    if (epoll < 0)
        MUST((epoll = epoll_create1(0)) >= 0);
    int64_t begin = now();
    MUST(epoll_wait(epoll, &event, 1, 3) == 0);
    not_early(begin);
}

static void round_futex(void) {
    static uint32_t word;
    MUST(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait_time, 0, 0) == -1 && errno == ETIMEDOUT);
}

static void round_timerfd(void) {
    static int fd = -1;
    uint64_t ticks;
    if (fd < 0) {
        struct itimerspec every = {wait_time, wait_time};
        MUST((fd = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
        MUST(timerfd_settime(fd, 0, &every, 0) == 0);
    }
    MUST(read(fd, &ticks, 8) == 8 && ticks > 0);
}

static void round_pipe(void) {
    static int ends[2], started;
    static unsigned char expected;
    unsigned char got;
    if (!started++) {
        MUST(pipe(ends) == 0);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(ends[0]);
            for (unsigned char next = 0; write(ends[1], &next, 1) == 1; next++)
                nanosleep(&wait_time, 0);
            _exit(0);
        }
        close(ends[1]);
    }
    MUST(read(ends[0], &got, 1) == 1 && got == expected++);
}

static void round_semtimedop(void) {
    static int id = -1;
    struct sembuf take = {0, -1, 0};
    if (id < 0) {
        MUST((id = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    }
    int result = semtimedop(id, &take, 1, &wait_time), error = errno;
    if (state->stop)
        semctl(id, 0, IPC_RMID);
    errno = error;
    MUST(result == -1 && errno == EAGAIN);
}

static void round_sigtimedwait(void) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    MUST(sigtimedwait(&one, 0, &wait_time) == -1 && errno == EAGAIN);
}

static void round_receive(void) {
    static int ends[2], started;
    char byte;
    if (!started++) {
        struct timeval limit = {0, WAIT_NS / 1000};
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        MUST(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    }
    MUST(recv(ends[0], &byte, 1, 0) == -1 && errno == EAGAIN);
}

static void round_accept(void) {
    static int fd = -1;
    if (fd < 0) {
        struct sockaddr_un nameless = {.sun_family = AF_UNIX};
        struct timeval limit = {0, WAIT_NS / 1000};
        MUST((fd = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
        MUST(bind(fd, (void *)&nameless, sizeof(sa_family_t)) == 0 && listen(fd, 1) == 0);
        MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    }
    MUST(accept(fd, 0, 0) == -1 && errno == EAGAIN);
}

static void round_wait4(void) {
    int status;
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        nanosleep(&wait_time, 0);
        _exit(7);
    }
    MUST(wait4(child, &status, 0, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* A signal that is open only inside the wait: each must end exactly one wait with EINTR. */
static volatile uint64_t handled;
static void on_signal(int number) { handled++; (void)number; }

static void round_epoll_pwait(void) {
    static int epoll = -1;
    struct epoll_event event;
    sigset_t shut, open, after;
    if (epoll < 0) {
        signal(SIGUSR1, on_signal);
        MUST((epoll = epoll_create1(0)) >= 0);
    }
    sigemptyset(&shut);
    sigaddset(&shut, SIGUSR1);
    sigemptyset(&open);
    sigprocmask(SIG_SETMASK, &shut, 0);
    uint64_t before = handled;
    int result = epoll_pwait(epoll, &event, 1, 3, &open);
    if (handled == before)
        MUST(result == 0);
    else
        MUST(result == -1 && errno == EINTR && handled == before + 1);
    sigprocmask(SIG_SETMASK, 0, &after);
    MUST(sigismember(&after, SIGUSR1) && !sigismember(&after, SIGUSR2));
    state->count = handled;
}
