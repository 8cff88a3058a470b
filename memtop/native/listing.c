/*
 * Which pages of a range are there, one by one: a look that changes nothing.  See
 * Documentation/admin-guide/mm/pagemap.rst; scan.c counts and protects, this lists.
 */
#include "scan.h"

#include <errno.h>
#include <unistd.h>

#define STRIDE (16ull << 30) /* empty address space that one call may cross */
#define ENTRIES 8192         /* 64 KiB of pagemap: 32 MiB of address space */

static int scan_some(int fd, const mt_masks *masks, uint64_t returns, uint64_t *at, uint64_t end, page_region *found,
                     size_t room) {
    /* A look that asks for nothing that is there finds holes, of any size: it needs no limit. */
    uint64_t most = masks->anyof ? SLICE / MT_PAGE : UINT64_MAX / MT_PAGE, pages = 0;
    uint64_t stop = masks->anyof && end - *at > STRIDE ? *at + STRIDE : end;
    scan_arg arg = {.size = sizeof arg, .start = *at, .end = stop, .vec = (uint64_t)(uintptr_t)found,
                    .vec_len = room, .max_pages = masks->anyof ? most : 0, .category_inverted = masks->inverted,
                    .category_mask = masks->mask, .category_anyof_mask = masks->anyof, .return_mask = returns};
    int got = ioctl(fd, SCAN_IOCTL, &arg);
    if (got < 0)
        return -errno;
    for (int i = 0; i < got; i++)
        pages += (found[i].end - found[i].start) / MT_PAGE;
    if ((size_t)got < room && pages < most)
        *at = stop;
    else /* walk_end stops moving after 512 regions */
        *at = arg.walk_end > found[got - 1].end ? arg.walk_end : found[got - 1].end;
    return got;
}

static int read_some(int fd, uint64_t *at, uint64_t end, uint64_t anyof, page_region *found, size_t room) {
    uint64_t entries[ENTRIES], pages = (end - *at) / MT_PAGE;
    size_t count = 0;
    ssize_t got = pread(fd, entries, (pages < ENTRIES ? pages : ENTRIES) * 8, (off_t)(*at / MT_PAGE * 8));
    if (got <= 0)
        return got < 0 ? -errno : -ESRCH;
    for (size_t i = 0; i < (size_t)got / 8; i++, *at += MT_PAGE) {
        uint64_t categories = entry_categories(entries[i]) & (SOMETHING | PAGE_FILE);
        if (!(categories & anyof))
            continue;
        if (count && found[count - 1].end == *at && found[count - 1].categories == categories)
            found[count - 1].end += MT_PAGE;
        else if (count == room)
            break;
        else
            found[count++] = (page_region){*at, *at + MT_PAGE, categories};
    }
    return (int)count;
}

int64_t mt_list(int pagemap_fd, int use_ioctl, const mt_masks *masks, uint64_t returns, const mt_run *runs, size_t count,
                uint64_t join, mt_cursor *cursor, mt_region *found, size_t room) {
    page_region *regions = (page_region *)found;
    size_t made = 0;
    while (cursor->run < count && made < room) {
        size_t last = cursor->run;
        uint64_t end = mt_run_end(&runs[last]);
        for (; last + 1 < count && runs[last + 1].start - end <= join; last++)
            end = mt_run_end(&runs[last + 1]);
        if (cursor->at < runs[cursor->run].start)
            cursor->at = runs[cursor->run].start;
        while (cursor->at < end && made < room) {
            int got = use_ioctl
                          ? scan_some(pagemap_fd, masks, returns, &cursor->at, end, regions + made, room - made)
                          : read_some(pagemap_fd, &cursor->at, end, masks->anyof, regions + made, room - made);
            if (got < 0)
                return got;
            made += (size_t)got;
        }
        if (cursor->at >= end)
            cursor->run = last + 1;
    }
    return (int64_t)made;
}

size_t mt_regions_runs(const mt_region *regions, size_t count, uint64_t with, uint64_t without, mt_run *out) {
    mt_run *at = out;
    for (const mt_region *region = regions; region < regions + count; region++)
        if ((!with || region->categories & with) && !(region->categories & without))
            at = mt_run_put(out, at, region->start, region->end, 0);
    return (size_t)(at - out);
}
