/* Finding machine code that a process has already: nothing of its text is ever changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "inject.h"

#define CHUNK 65536

/* Reads with process_vm_readv: /proc/PID/mem would also ask for the right to open that file, which a caller
 * with only CAP_SYS_PTRACE lacks. */
static int search(int tid, const mt_mapping *mapping, const char *code, size_t length, uint64_t *found) {
    static _Thread_local char buffer[CHUNK];
    for (uint64_t at = mapping->start; at + length <= mapping->end;) {
        uint64_t left = mapping->end - at;
        struct iovec here = {buffer, left < CHUNK ? left : CHUNK}, there = {(void *)(uintptr_t)at, here.iov_len};
        ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);
        if (got < 0 && errno != EFAULT)
            return -errno;
        if (got < (ssize_t)length)
            return 0; /* unreadable from here on (a file cut short): look elsewhere */
        const char *hit = memmem(buffer, (size_t)got, code, length);
        if (hit) {
            *found = at + (uint64_t)(hit - buffer);
            return 1;
        }
        at += (uint64_t)got - (length - 1); /* it may lie across two chunks */
    }
    return 0;
}

static int is_vdso(const mt_mapping *mapping, const char *names) {
    return mapping->name_len == 6 && memcmp(names + mapping->name_at, "[vdso]", 6) == 0;
}

int mt_read_layout(int pid, int tid, mt_maps *maps) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/maps", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = mt_maps_read(maps, fd);
    close(fd);
    return result < 0 ? result : 0;
}

int mt_find_code(const mt_maps *maps, int tid, const char *code, size_t length, uint64_t *found) {
    const mt_mapping *items = mt_maps_items(maps);
    int result = 0;
    /* The vdso is never unmapped under us; program text hardly ever, and what was mapped first, at the highest
     * addresses, the C library among it, least of all; code made at run time might be. */
    for (int vdso = 1; result == 0 && vdso >= 0; vdso--)
        for (size_t i = mt_maps_count(maps); result == 0 && i-- > 0;) {
            int wanted = vdso ? is_vdso(&items[i], mt_maps_names(maps)) : items[i].kind == MT_KIND_TEXT;
            if (wanted && (items[i].perms & MT_PERM_READ) && (items[i].perms & MT_PERM_EXEC))
                result = search(tid, &items[i], code, length, found);
        }
    return result;
}
