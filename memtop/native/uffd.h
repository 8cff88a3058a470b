/* include/uapi/linux/userfaultfd.h as of Linux 6.7; own names, because older headers lack what is needed. */
#ifndef MEMTOP_UFFD_H
#define MEMTOP_UFFD_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define UFFD_VERSION 0xaaull
#define UFFD_FEATURE_WP 0x1ull
#define UFFD_FEATURE_WP_SHMEM 0x1000ull      /* hugetlbfs and shmem too, 5.19 */
#define UFFD_FEATURE_WP_EMPTY 0x2000ull      /* WP_UNPOPULATED, 6.4 */
#define UFFD_FEATURE_WP_BY_KERNEL 0x8000ull  /* WP_ASYNC: the kernel resolves the faults, 6.7 */
#define UFFD_MODE_WP 0x2ull

#define UFFD_FLAGS (O_CLOEXEC | O_NONBLOCK | 1) /* 1: USER_MODE_ONLY, which needs no privilege */

typedef struct {
    uint64_t api, features, ioctls;
} uffd_api;

typedef struct {
    uint64_t start, length;
} uffd_range;

typedef struct {
    uffd_range range;
    uint64_t mode, ioctls;
} uffd_register;

typedef struct {
    uffd_range range;
    uint64_t mode; /* 0: take the protection back */
} uffd_protect;

_Static_assert(sizeof(uffd_api) == 24 && sizeof(uffd_register) == 32 && sizeof(uffd_protect) == 24, "the kernel checks the size");

#define UFFD_IOCTL_API _IOWR(0xaa, 0x3f, uffd_api)
#define UFFD_IOCTL_REGISTER _IOWR(0xaa, 0x00, uffd_register)
#define UFFD_IOCTL_PROTECT _IOWR(0xaa, 0x06, uffd_protect)
#define UFFD_IOCTL_UNREGISTER _IOR(0xaa, 0x01, uffd_range)

#endif
