/* Room in files: ways past the page cache, room given in advance, and holes. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

int mt_punch_hole(int fd, uint64_t at, uint64_t length) {
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length) == 0)
        return 1;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

int mt_open_direct(int fd) {
    struct statfs system;
    if (fstatfs(fd, &system) < 0)
        return -errno;
    if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC)
        return -EOPNOTSUPP;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd); /* it may have no name, proc_pid_fd(5) */
    int direct = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    return direct < 0 ? -errno : direct;
}

/* Calls act for pieces of at least so many pages; those that go on in the file are one. */
static int each(int (*act)(int fd, uint64_t at, uint64_t length), int fd, const mt_piece *pieces, size_t count,
                uint64_t least) {
    for (size_t i = 0, next; i < count; i = next) {
        uint64_t end = pieces[i].offset + pieces[i].pages * MT_PAGE;
        for (next = i + 1; next < count && pieces[next].offset == end; next++)
            end += pieces[next].pages * MT_PAGE;
        int done = end - pieces[i].offset >= least * MT_PAGE ? act(fd, pieces[i].offset, end - pieces[i].offset) : 1;
        if (done <= 0)
            return done;
    }
    return 0;
}

static int reserve(int fd, uint64_t at, uint64_t length) {
    int done;
    do
        done = fallocate(fd, 0, (off_t)at, (off_t)length);
    while (done < 0 && errno == EINTR);
    if (done == 0)
        return 1;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

int mt_reserve(int fd, const mt_piece *pieces, size_t count, uint64_t least) {
    return each(reserve, fd, pieces, count, least);
}

int mt_unreserve(int fd, const mt_piece *pieces, size_t count, uint64_t least) {
    return each(mt_punch_hole, fd, pieces, count, least);
}
