/* A name that must not be taken: rename(2) alone would replace what has it. */

#include "core.h"

#include <errno.h>
#include <stdio.h>

int mt_rename_new(int directory_fd, const char *from, const char *to) {
    if (renameat2(directory_fd, from, directory_fd, to, RENAME_NOREPLACE) == 0)
        return 1;
    return errno == EINVAL || errno == ENOSYS ? 0 : -errno; /* this file system, this kernel can't */
}
