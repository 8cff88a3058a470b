/*
 * Pages from one place to another: out of a process (process_vm_readv(2)) or out of memory, into a file or into
 * memory.  On the way each page is hashed and told apart: contents, only zeros, or unreadable.
 *
 * A megabyte at a time, so that what was read is still in the cache when it is hashed and written.  Where there is much
 * of it, several threads take turns.  Through the page cache two are enough: one reads while the other writes, for a
 * file takes one write at a time.  Past it, which spares the copy and the cache of all others, a disk is fastest
 * with several writes under way; the threads then wait for it most of the time.
 */
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 256 /* pages: 1 MiB; fewer than the 1024 parts that one call may have */
#define MUCH 1024 /* pages, from which on a second thread is worth its start */
#define THREADS 8 /* at most */
#define LESS 5    /* how much nicer threads are that write */

/* What all threads share. */
typedef struct {
    const mt_copy_request *request;
    pthread_mutex_t lock;     /* for all that follows */
    const mt_piece *at, *end; /* pieces, and where in the first of them we are */
    uint32_t offset;
    uint64_t given; /* pages that were handed out */
    int error;      /* the first one */
    mt_copied *copied;
    uint8_t *bounces; /* a batch for each thread, where pages need a place on their way */
} job;

/* One thread's batch. */
typedef struct {
    job *job;
    const mt_copy_request *request;
    uint64_t done; /* pages before this batch */
    struct iovec from[BATCH];
    uint64_t to[BATCH]; /* byte offset in the file, per page */
    size_t parts, pages;
    uint8_t *contents;
    uint8_t state[BATCH];
} copier;

static void *address(uint64_t at) {
    return (void *)(uintptr_t)at;
}

/* The next pages, at most BATCH.  False: there are none, or there was an error. */
static bool fill(copier *c) {
    job *j = c->job;
    c->parts = c->pages = 0;
    pthread_mutex_lock(&j->lock);
    c->done = j->given;
    while (!j->error && j->at < j->end && c->pages < BATCH) {
        uint32_t left = j->at->pages - j->offset, room = (uint32_t)(BATCH - c->pages), take = left < room ? left : room;
        uint64_t skipped = j->offset * MT_PAGE;
        if (take > 0)
            c->from[c->parts++] = (struct iovec){address(j->at->address + skipped), take * MT_PAGE};
        for (uint32_t i = 0; i < take; i++)
            c->to[c->pages++] = j->at->offset + skipped + i * MT_PAGE;
        j->offset += take;
        if (j->offset == j->at->pages) {
            j->at++;
            j->offset = 0;
        }
    }
    j->given += c->pages;
    pthread_mutex_unlock(&j->lock);
    return c->pages > 0;
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* Which part page number i of the batch lies in, and how many bytes before it. */
static size_t part_of(const copier *c, size_t i, uint64_t *before) {
    uint64_t bytes = i * MT_PAGE;
    size_t part = 0;
    while (bytes >= c->from[part].iov_len)
        bytes -= c->from[part++].iov_len;
    *before = bytes;
    return part;
}

/* Reads from page i on, as far as one call gets.  Pages, or -errno if not even one. */
static int64_t read_on(const copier *c, size_t i) {
    uint64_t before;
    size_t part = part_of(c, i, &before);
    struct iovec first = c->from[part], rest[BATCH];
    memcpy(rest, &c->from[part], (c->parts - part) * sizeof *rest);
    rest[0] = (struct iovec){(char *)first.iov_base + before, first.iov_len - before};
    struct iovec here = {c->contents + i * MT_PAGE, (c->pages - i) * MT_PAGE};
    ssize_t got = process_vm_readv(c->request->pid, &here, 1, rest, c->parts - part, 0);
    return got < 0 ? -errno : got / (ssize_t)MT_PAGE;
}

/* The rest of page i's part through /proc/PID/mem, which also reads what the process itself may not
 * (PROT_NONE).  Pages, or -errno. */
static int64_t read_mem(const copier *c, size_t i) {
    uint64_t before;
    size_t part = part_of(c, i, &before);
    if (c->request->mem_fd < 0)
        return -EFAULT;
    uint64_t from = (uint64_t)(uintptr_t)c->from[part].iov_base + before;
    ssize_t got = pread(c->request->mem_fd, c->contents + i * MT_PAGE, c->from[part].iov_len - before, (off_t)from);
    return got < 0 ? -errno : got < (ssize_t)MT_PAGE ? -EIO : got / (ssize_t)MT_PAGE;
}

/* Reads the batch; what nothing reads is zeros, and its errno its state.  0, or -errno: no such process. */
static int read_batch(copier *c) {
    memset(c->state, MT_PAGE_DATA, c->pages);
    for (size_t i = 0; i < c->pages;) {
        int64_t got = read_on(c, i);
        if (got == -ESRCH || got == -EPERM || got == -ENOSYS || got == -ENOMEM)
            return (int)got;
        if (got <= 0)
            got = read_mem(c, i);
        if (got <= 0) {
            memset(c->contents + i * MT_PAGE, 0, MT_PAGE);
            c->state[i] = got < 0 ? (uint8_t)-got : EIO;
            got = 1;
        }
        i += (size_t)got;
    }
    return 0;
}

/* ---- telling apart ------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *page) {
    const uint64_t *words = (const uint64_t *)page;
    for (size_t i = 0; i < MT_PAGE / sizeof *words; i += 8)
        if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] | words[i + 6] |
            words[i + 7])
            return false;
    return true;
}

static void judge(copier *c, mt_copied *copied) {
    const mt_copy_request *r = c->request;
    for (size_t i = 0; i < c->pages; i++) {
        const uint8_t *page = c->contents + i * MT_PAGE;
        if (c->state[i] == MT_PAGE_DATA && is_zero(page))
            c->state[i] = MT_PAGE_ZERO;
        copied->zero += c->state[i] == MT_PAGE_ZERO;
        copied->unreadable += c->state[i] != MT_PAGE_ZERO && c->state[i] != MT_PAGE_DATA;
        if (r->hashes)
            r->hashes[c->done + i] = c->state[i] == MT_PAGE_DATA ? mt_hash(page, MT_PAGE) : 0;
    }
    if (r->states)
        memcpy(r->states + c->done, c->state, c->pages);
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* Writes from *done on, and says how far it got. */
static int write_on(int fd, const uint8_t *from, size_t size, uint64_t to, size_t *done) {
    while (*done < size) {
        ssize_t put = pwrite(fd, from + *done, size - *done, (off_t)(to + *done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -ENOSPC;
        *done += (size_t)put;
    }
    return 0;
}

static int write_all(const mt_copy_request *r, const uint8_t *from, size_t size, uint64_t to) {
    size_t done = 0;
    if (r->direct_fd >= 0 && size >= MT_DIRECT * MT_PAGE) {
        int error = write_on(r->direct_fd, from, size, to, &done);
        if (error != -EINVAL) /* the file system wants another alignment, be it of the rest of a write cut short */
            return error;
    }
    return write_on(r->out_fd, from, size, to, &done);
}

/* Nothing may be left of what stood there before: a hole, or zeros where the file system makes none. */
static int clear(const mt_copy_request *r, const uint8_t *zeros, size_t size, uint64_t at) {
    int done = mt_punch_hole(r->out_fd, at, size);
    return done == 0 ? write_all(r, zeros, size, at) : done < 0 ? done : 0;
}

static int write_batch(copier *c, mt_copied *copied) {
    const mt_copy_request *r = c->request;
    for (size_t i = 0, next; i < c->pages; i = next) {
        bool data = c->state[i] == MT_PAGE_DATA;
        for (next = i + 1; next < c->pages; next++)
            if ((c->state[next] == MT_PAGE_DATA) != data || c->to[next] != c->to[next - 1] + MT_PAGE)
                break;
        const uint8_t *from = c->contents + i * MT_PAGE;
        size_t size = (next - i) * MT_PAGE;
        int error = 0;
        if (data) {
            error = write_all(r, from, size, c->to[i]);
            copied->written += size;
        } else if (r->overwrite) {
            error = clear(r, from, size, c->to[i]);
        }
        if (error) {
            copied->writing = 1;
            return error;
        }
    }
    return 0;
}

static int copy_batch(copier *c, uint8_t *bounce, mt_copied *copied) {
    const mt_copy_request *r = c->request;
    int error = 0;
    if (r->held) {
        c->contents = (uint8_t *)(uintptr_t)r->held + c->done * MT_PAGE;
        if (r->held_states)
            memcpy(c->state, r->held_states + c->done, c->pages);
        else
            memset(c->state, MT_PAGE_DATA, c->pages);
    } else {
        c->contents = r->out ? r->out + c->done * MT_PAGE : bounce;
        error = read_batch(c);
    }
    if (error)
        return error;
    judge(c, copied);
    if (!r->out)
        error = write_batch(c, copied);
    copied->pages += c->pages;
    if (r->beat)
        __atomic_add_fetch(r->beat, 1, __ATOMIC_RELAXED);
    return error;
}

/* Copies batches until there are none. */
static void work(job *j) {
    mt_copied own = {0};
    copier *c = malloc(sizeof *c);
    int error = c ? 0 : -ENOMEM;
    pthread_mutex_lock(&j->lock);
    uint8_t *bounce = j->bounces;
    if (bounce)
        j->bounces += BATCH * MT_PAGE;
    pthread_mutex_unlock(&j->lock);
    if (!error)
        *c = (copier){.job = j, .request = j->request};
    while (!error && fill(c))
        error = copy_batch(c, bounce, &own);
    pthread_mutex_lock(&j->lock);
    j->copied->pages += own.pages;
    j->copied->zero += own.zero;
    j->copied->unreadable += own.unreadable;
    j->copied->written += own.written;
    if (error && !j->error) {
        j->error = error;
        j->copied->writing = own.writing;
    }
    pthread_mutex_unlock(&j->lock);
    free(c);
}

/* The same in a thread of its own, that gives way to the process that is copied: several threads that use processors
 * as long as they may would make it wait 2 ms each time it wakes. */
static void *work_behind(void *argument) {
    job *j = argument;
    if (!j->request->out)
        nice(LESS); /* on Linux this thread alone, nice(2) */
    work(j);
    return 0;
}

/* No signal is for it: the program's handlers run in the program's threads. */
static bool start(pthread_t *thread, job *j) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, 0, work_behind, j) == 0;
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return started;
}

/* In huge pages, where there are any: what lies in one piece of memory goes to a disk in few, large requests, a third
 * faster than pages from here and there (benchmarks/dump.py). */
static uint8_t *new_bounces(size_t threads) {
    size_t size = (threads * BATCH * MT_PAGE + MT_HUGE - 1) & ~(MT_HUGE - 1);
    uint8_t *bounces = aligned_alloc(MT_HUGE, size);
    if (bounces)
        madvise(bounces, size, MADV_HUGEPAGE); /* EINVAL: a kernel without them */
    return bounces;
}

int mt_copy(const mt_copy_request *request, const mt_piece *pieces, size_t count, mt_copied *copied) {
    *copied = (mt_copied){0};
    job j = {.request = request, .lock = PTHREAD_MUTEX_INITIALIZER, .at = pieces, .end = pieces + count, .copied = copied};
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        pages += pieces[i].pages;
    /* Into memory is for a process that stands still.  Whoever copies then runs before others (sched(7)), but a thread
     * of its own would not: to wait for that one takes longer than a few megabytes. */
    pthread_t others[THREADS];
    size_t started = 0, wanted = 0;
    if (pages >= (request->out ? 16 * MUCH : MUCH))
        wanted = request->out ? 1 : request->direct_fd < 0 ? 2 : THREADS;
    uint8_t *bounces = 0;
    if (!request->held && !request->out) {
        bounces = j.bounces = new_bounces(wanted ? wanted : 1);
        if (!bounces)
            return -ENOMEM;
    }
    while (started < wanted && start(&others[started], &j))
        started++;
    if (request->out || started == 0)
        work(&j);
    while (started > 0)
        pthread_join(others[--started], 0);
    free(bounces);
    return j.error;
}

size_t mt_state_runs(const mt_piece *pieces, size_t count, const uint8_t *states, uint8_t state, mt_run *out) {
    size_t made = 0;
    for (size_t i = 0; i < count; states += pieces[i++].pages)
        for (uint32_t page = 0; page < pieces[i].pages; page++) {
            uint64_t at = pieces[i].address + page * MT_PAGE;
            if (states[page] != state)
                continue;
            if (made && out[made - 1].start + out[made - 1].pages * MT_PAGE == at)
                out[made - 1].pages++;
            else
                out[made++] = (mt_run){at, 1, 0};
        }
    return made;
}
