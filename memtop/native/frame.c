/*
 * A signal frame that a stopped thread can give itself back with, without us.
 *
 * From the first changed register on, all that the thread can run ends in rt_sigreturn(2) with this frame.  A
 * tracer that dies only lets it go; then the kernel puts back its registers, vector state and signal mask, as
 * it does when a signal handler returns.
 *
 * The frame is one page at the far end of the thread's own stack that was never touched.  Right below the stack
 * pointer would not do: a handler's alternate stack, or a coroutine's, may be a few bytes carved out of something
 * else.  A page that has never been there holds nothing of the program's, whatever the stack pointer is.
 */
#include "inject.h"

#if MT_CAN_INJECT

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"

#define NT_SHADOW_STACK 0x204
/* Below the frame in a stack that does not grow: a signal can come while the thread is on its way there. */
#define ROOM 4
#define MOST_PAGES 24
#define GAP (256 * MT_PAGE) /* that the kernel keeps below a growing stack (stack_guard_gap) */
#define PRESENT_OR_SWAPPED (3ull << 62) /* Documentation/admin-guide/mm/pagemap.rst */
#define MARK 0x656d617266706f74ull
#define FRAME_AT ((4 * sizeof(uint64_t) + sizeof(mt_frame) + MT_VECTORS_ALIGN - 1) / MT_VECTORS_ALIGN * \
                  MT_VECTORS_ALIGN - sizeof(mt_frame))
#define VECTORS_AT (FRAME_AT + sizeof(mt_frame))

/* What is written.  The mark and the sum say that it is a frame of ours, which nobody changed since. */
typedef struct {
    uint64_t mark, sum, state, rest[MT_PAGE / 8 - 3];
} page_image;

static page_image image __attribute__((aligned(MT_VECTORS_ALIGN)));

static uint64_t sum_of(const page_image *page) {
    uint64_t sum = page->mark;
    for (size_t i = 0; i < sizeof page->rest / 8; i++)
        sum = (sum ^ page->rest[i]) * 0x9e3779b97f4a7c15ull, sum ^= sum >> 29;
    return sum;
}

/* ---- where ------------------------------------------------------------------------------------------ */

static const mt_mapping *mapping_of(const mt_maps *maps, uint64_t address) {
    const mt_mapping *items = mt_maps_items(maps);
    size_t low = 0, high = mt_maps_count(maps);
    while (low < high) { /* the first that ends above it */
        size_t middle = (low + high) / 2;
        if (items[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < mt_maps_count(maps) && items[low].start <= address ? items + low : 0;
}

const mt_mapping *mt_main_stack(const mt_maps *maps) {
    const mt_mapping *items = mt_maps_items(maps);
    for (size_t i = mt_maps_count(maps); i-- > 0;)
        if (items[i].kind == MT_KIND_STACK)
            return items + i;
    return 0;
}

/* The mapping that holds address, if it is like what pthread_create makes: a guard below, no file. */
static const mt_mapping *stack_with(const mt_maps *maps, uint64_t address) {
    const int accessible = MT_PERM_READ | MT_PERM_WRITE | MT_PERM_EXEC;
    const mt_mapping *stack = mapping_of(maps, address), *below = stack - 1;
    if (!stack || stack == mt_maps_items(maps) || stack->inode || below->inode || below->end != stack->start ||
        (stack->perms & (MT_PERM_READ | MT_PERM_WRITE | MT_PERM_SHARED)) != (MT_PERM_READ | MT_PERM_WRITE) ||
        (below->perms & accessible))
        return 0;
    return stack;
}

/* On top of it is the thread's own data, to which the thread pointer points, and so does the word that is there. */
static const mt_mapping *thread_stack(const mt_job *j) {
    const mt_mapping *stack = stack_with(j->maps, mt_arch_thread(&j->regs));
    uint64_t self;
    if (!stack || mt_job_read(j, mt_arch_thread(&j->regs), &self, sizeof self) != 0 ||
        self != mt_arch_thread(&j->regs))
        return 0;
    return stack;
}

int mt_frame_likely(const mt_job *j) {
    char text[256];
    if (j->tid == j->pid && j->stack)
        return 1;
    mt_read_task(j->pid, j->tid, "syscall", text, sizeof text);
    const char *pc = strrchr(text, ' '), *sp = pc; /* number, arguments, stack pointer, instruction pointer */
    if (!pc)
        return 1; /* it runs, or we may not see */
    while (sp > text && *--sp != ' ')
        ;
    return stack_with(j->maps, strtoull(sp, 0, 16)) != 0;
}

static int set_state(const mt_job *j, uint64_t page, uint64_t state) {
    struct iovec here = {&state, sizeof state};
    struct iovec there = {(void *)(uintptr_t)(page + offsetof(page_image, state)), sizeof state};
    return process_vm_writev(j->tid, &here, 1, &there, 1, 0) == (ssize_t)sizeof state ? 0 : -1;
}

/* Into image: is it a frame of an earlier injection? */
static int is_frame(const mt_job *j, uint64_t page) {
    return mt_job_read(j, page, &image, sizeof image) == 0 && image.mark == MARK && image.sum == sum_of(&image);
}

/* A thread whose injector was killed may not have come to run since, and still be on its way through a frame.  That
 * one is needed for as long as the new one is, and for longer if that injector is killed, too. */
static int keep_frame_in_use(const mt_job *j, uint64_t start, uint64_t end) {
    const uint64_t pointers[] = {mt_arch_sp(&j->regs), mt_arch_base(&j->regs)};
    for (int i = 0; i < 2; i++) {
        uint64_t page = pointers[i] & ~(MT_PAGE - 1);
        if (page >= start && page < end && is_frame(j, page) && set_state(j, page, MT_FRAME_SHARED) != 0)
            return -1;
    }
    return 0;
}

static int is_touched(uint64_t entry) { return (entry & PRESENT_OR_SWAPPED) != 0; }

static int read_entries(const mt_job *j, uint64_t page, uint64_t *entries, size_t count) {
    ssize_t size = (ssize_t)(count * sizeof *entries);
    return pread(j->pagemap, entries, (size_t)size, (off_t)(page / MT_PAGE * sizeof *entries)) == size ? 0 : -1;
}

/* The first of some pages that is free, after room others from start on that were never touched; or 0. */
static uint64_t first_free(const mt_job *j, uint64_t start, size_t room, size_t pages) {
    uint64_t entries[ROOM + 1];
    if (read_entries(j, start, entries, room + 1) != 0)
        return 0;
    for (size_t i = 0; i < room; i++)
        if (is_touched(entries[i]))
            return 0;
    for (size_t i = 0; i < pages; i++) {
        uint64_t page = start + (room + i) * MT_PAGE;
        if (i > 0 && read_entries(j, page, entries + room, 1) != 0)
            return 0;
        if (!is_touched(entries[room]) || (is_frame(j, page) && image.state != MT_FRAME_SHARED))
            return page;
    }
    return 0;
}

/* A page for the frame, or 0. */
static uint64_t find_page(const mt_job *j) {
    const mt_mapping *stack = j->tid == j->pid && j->stack ? j->stack : thread_stack(j);
    if (!stack)
        return 0;
    size_t room = stack == j->stack ? 0 : ROOM, pages = (stack->end - stack->start) / MT_PAGE;
    if (pages <= room)
        return 0;
    pages = pages - room < MOST_PAGES ? pages - room : MOST_PAGES;
    if (keep_frame_in_use(j, stack->start, stack->start + (room + pages) * MT_PAGE) != 0)
        return 0;
    uint64_t page = first_free(j, stack->start, room, pages);
    if (page || stack != j->stack)
        return page;
    /* All of it was in use once.  The kernel lets it grow by a page, as it does for the thread itself. */
    page = stack->start - MT_PAGE;
    if ((stack > mt_maps_items(j->maps) && stack[-1].end + GAP > page) || first_free(j, page, 0, 1) == 0)
        return 0;
    return ptrace(PTRACE_POKEDATA, j->tid, (void *)(uintptr_t)page, (void *)0) == 0 ? page : 0;
}

/* ---- what ------------------------------------------------------------------------------------------- */

static int read_set(const mt_job *j, long set, void *to, size_t size) {
    struct iovec io = {to, size};
    if (ptrace(PTRACE_GETREGSET, j->tid, (void *)set, &io) != 0)
        return -errno;
    return io.iov_len == size ? 0 : -EINVAL;
}

/* The thread's vector state, as a signal frame holds it.  0 or -errno. */
static int vector_state(const mt_job *j, char *state) {
    const mt_vectors *layout = &j->vectors; /* asked for beforehand: CPUID may take long */
    if (VECTORS_AT + layout->size + sizeof(uint32_t) > sizeof image)
        return -E2BIG;
    int error = read_set(j, layout->features ? NT_X86_XSTATE : NT_PRFPREG, state, layout->size);
    if (error == 0 && layout->features && (mt_arch_in_use(state) & ~layout->features))
        error = -E2BIG; /* matrix registers (AMX), which a program must ask for */
    if (error == 0)
        mt_arch_seal(state, layout);
    return error;
}

int mt_frame_write(mt_job *j, const mt_regs *regs) {
    char *bytes = (char *)&image;
    uint64_t ignored, page;
    struct iovec shadow = {&ignored, sizeof ignored};
    if (ptrace(PTRACE_GETREGSET, j->tid, (void *)NT_SHADOW_STACK, &shadow) == 0)
        return mt_fail(j, MT_INJECT_SHADOW, 0); /* a `ret` to where no `call` came from would be its end */
    page = find_page(j);
    if (page == 0)
        return mt_fail(j, MT_INJECT_STACK, 0);
    memset(&image, 0, sizeof image);
    int error = vector_state(j, bytes + VECTORS_AT);
    if (error == -E2BIG)
        return mt_fail(j, MT_INJECT_VECTORS, 0);
    if (error)
        return mt_fail(j, error == -ESRCH ? MT_INJECT_GONE : MT_INJECT_REGISTERS, -error);
    mt_frame *frame = (mt_frame *)(void *)(bytes + FRAME_AT);
    mt_arch_frame(frame, regs, j->mask, page + VECTORS_AT, j->vectors.features != 0);
    frame->load = j->load;
    frame->call = j->code;
    image.mark = MARK;
    image.state = j->pivot ? MT_FRAME_SHARED : MT_FRAME_ALONE;
    image.sum = sum_of(&image);
    j->frame = page + FRAME_AT;
    struct iovec here = {&image, sizeof image}, there = {(void *)(uintptr_t)page, sizeof image};
    if (process_vm_writev(j->tid, &here, 1, &there, 1, 0) != (ssize_t)sizeof image)
        return mt_fail(j, MT_INJECT_STACK, EFAULT);
    return MT_INJECT_OK;
}

int mt_frame_set(const mt_job *j, uint64_t state) { return set_state(j, j->frame - FRAME_AT, state); }

#endif
