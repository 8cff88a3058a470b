/* A name that must not be taken: rename(2) alone would replace what has it. */

#include "core.h"

#include <errno.h>
#include <stdio.h>

int mt_rename_new(int from_fd, const char *from, int to_fd, const char *to) {
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 1;
    return errno == EINVAL || errno == ENOSYS ? 0 : -errno; /* this file system, this kernel can't */
}
