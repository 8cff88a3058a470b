/*
 * Latency of a redis-server as a caller sees it that sends at fixed times, whatever came of the request before:
 *
 *   latency SOCKET RATE SECONDS KEYS BYTES
 *
 * One request after another, half of them SET, half GET, of random keys. Each is timed from the moment when it
 * should have been sent, so that a server that stands still delays all that fall into that time, not one.
 * Prints: requests, then p50, p99, p99.9 and the largest in microseconds.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int connected(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror(path);
        exit(1);
    }
    return fd;
}

static void send_all(int fd, const char *bytes, size_t length) {
    for (ssize_t sent; length; bytes += sent, length -= (size_t)sent)
        if ((sent = write(fd, bytes, length)) <= 0)
            exit(1);
}

/* An answer: one line, and for GET the value that it announces. */
static void receive(int fd) {
    static char answer[1 << 20];
    size_t length = 0, wanted = 0;
    while (!wanted || length < wanted) {
        ssize_t got = read(fd, answer + length, sizeof answer - length);
        if (got <= 0)
            exit(1);
        length += (size_t)got;
        char *line = memmem(answer, length, "\r\n", 2);
        if (!wanted && line) {
            wanted = (size_t)(line + 2 - answer);
            if (answer[0] == '-')
                exit(1);
            if (answer[0] == '$' && answer[1] != '-')
                wanted += strtoul(answer + 1, NULL, 10) + 2;
        }
    }
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 6)
        return fprintf(stderr, "usage: latency SOCKET RATE SECONDS KEYS BYTES\n"), 2;
    long rate = atol(argv[2]), count = rate * atol(argv[3]), keys = atol(argv[4]), bytes = atol(argv[5]);
    int64_t *took = malloc((size_t)count * sizeof *took);
    char *request = malloc((size_t)bytes + 128);
    int fd = connected(argv[1]);
    uint64_t random = (uint64_t)now() | 1;
    prctl(PR_SET_TIMERSLACK, 1);
    int64_t begin = now();
    for (long i = 0; i < count; i++) {
        int64_t due = begin + i * 1000000000ll / rate;
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        unsigned key = (unsigned)(random >> 20) % (unsigned)keys;
        int length;
        if (i % 2) {
            length = sprintf(request, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012u\r\n", key);
        } else {
            length = sprintf(request, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012u\r\n$%ld\r\n", key, bytes);
            memset(request + length, 'x', (size_t)bytes);
            memcpy(request + length + bytes, "\r\n", 2);
            length += (int)bytes + 2;
        }
        struct timespec until = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        send_all(fd, request, (size_t)length);
        receive(fd);
        took[i] = now() - due;
    }
    qsort(took, (size_t)count, sizeof *took, ascending);
    printf("%ld %.1f %.1f %.1f %.1f\n", count, took[count / 2] / 1e3, took[count * 99 / 100] / 1e3,
           took[count * 999 / 1000] / 1e3, took[count - 1] / 1e3);
    return 0;
}
