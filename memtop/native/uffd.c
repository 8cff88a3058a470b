/* Write protection that the kernel itself takes back on the first write (userfaultfd, WP_ASYNC). */
#include "uffd.h"

#include <errno.h>

#include "core.h"

int mt_uffd_api(int uffd) {
    const uint64_t features[] = {
        UFFD_FEATURE_WP | UFFD_FEATURE_WP_SHMEM | UFFD_FEATURE_WP_EMPTY | UFFD_FEATURE_WP_BY_KERNEL,
        UFFD_FEATURE_WP_EMPTY | UFFD_FEATURE_WP_BY_KERNEL, /* built without shmem and hugetlb support */
    };
    for (int i = 0; i < 2; i++) {
        uffd_api api = {.api = UFFD_VERSION, .features = features[i]};
        if (ioctl(uffd, UFFD_IOCTL_API, &api) == 0)
            return 0;
        if (errno != EINVAL) /* EINVAL: an unknown feature, and the descriptor may be asked again */
            break;
    }
    return -errno;
}

int mt_uffd_register(int uffd, uint64_t start, uint64_t length) {
    uffd_register request = {{start, length}, UFFD_MODE_WP, 0};
    return ioctl(uffd, UFFD_IOCTL_REGISTER, &request) == 0 ? 0 : -errno;
}

int mt_uffd_unregister(int uffd, uint64_t start, uint64_t length) {
    uffd_range range = {start, length};
    return ioctl(uffd, UFFD_IOCTL_UNREGISTER, &range) == 0 ? 0 : -errno;
}

int mt_uffd_unprotect(int uffd, uint64_t start, uint64_t length) {
    uffd_protect request = {{start, length}, 0};
    return ioctl(uffd, UFFD_IOCTL_PROTECT, &request) == 0 ? 0 : -errno;
}

int64_t mt_uffd_register_many(int uffd, const mt_mapping *items, const uint32_t *index, size_t count,
                              int32_t *errors) {
    int64_t worked = 0;
    for (size_t i = 0; i < count; i++) {
        const mt_mapping *m = &items[index[i]];
        errors[i] = -mt_uffd_register(uffd, m->start, m->end - m->start);
        worked += errors[i] == 0;
    }
    return worked;
}
