/* What injecting a system call needs to know about x86-64.  Another processor gets a header of its own. */
#ifndef MEMTOP_ARCH_H
#define MEMTOP_ARCH_H

#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>

typedef struct user_regs_struct mt_regs; /* NT_PRSTATUS */

#define MT_SYSCALL_CODE "\x0f\x05" /* syscall */
#define MT_SYSCALL_SIZE 2
/* What the target must have somewhere in its program text.  The first two bytes of MT_CALL_CODE are
 * MT_SYSCALL_CODE. */
#define MT_CALL_CODE "\x0f\x05\xc3" /* syscall; ret */
#define MT_CALL_SIZE 3
#define MT_LOAD_CODE "\x58\xc3" /* pop rax; ret */
#define MT_LOAD_SIZE 2
/* And this, if a thread is to be taken in the middle of its own code. */
#define MT_PIVOT_CODE "\xc9\xc3" /* leave; ret */
#define MT_PIVOT_SIZE 2

#define MT_NR_RESTART_SYSCALL 219

/* A 32-bit thread: the register set is another one, and so are its system calls. */
static inline int mt_arch_compat(const mt_regs *regs, size_t size) {
    return size != sizeof *regs || regs->cs == 0x23;
}

static inline uint64_t mt_arch_ip(const mt_regs *regs) { return regs->rip; }
static inline void mt_arch_set_ip(mt_regs *regs, uint64_t ip) { regs->rip = ip; }
static inline uint64_t mt_arch_sp(const mt_regs *regs) { return regs->rsp; }
/* On the way to a frame, by mt_arch_pivot, it points there. */
static inline uint64_t mt_arch_base(const mt_regs *regs) { return regs->rbp; }
static inline int64_t mt_arch_result(const mt_regs *regs) { return (int64_t)regs->rax; }
static inline int64_t mt_arch_number(const mt_regs *regs) { return (int64_t)regs->orig_rax; }
/* The thread pointer.  The C libraries keep there, too, the address itself. */
static inline uint64_t mt_arch_thread(const mt_regs *regs) { return regs->fs_base; }

/* ---- system calls and stops -------------------------------------------------------------------- */

/* Calls that say EINTR after a stop, where most others go on by themselves; signal(7), "Interruption of system
 * calls and library functions by stop signals". */
static inline int mt_arch_notices(int64_t number) {
    switch (number) {
    case SYS_epoll_wait: case SYS_epoll_pwait: case 441: /* epoll_pwait2 */
    case SYS_semop: case SYS_semtimedop: case SYS_rt_sigtimedwait:
    case SYS_io_getevents: case 333: /* io_pgetevents */ case 426: /* io_uring_enter */
        return 1;
    }
    return 0;
}

/* And these do on sockets that have a timeout.  close and connect, which could not be made again, do not. */
static inline int mt_arch_may_notice(int64_t number) {
    switch (number) {
    case SYS_read: case SYS_readv: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
    case SYS_write: case SYS_writev: case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
    case SYS_accept: case SYS_accept4:
        return 1;
    }
    return 0;
}

#define KERNEL_ERESTARTSYS 512
#define KERNEL_ERESTARTNOINTR 513
#define KERNEL_ERESTARTNOHAND 514
#define KERNEL_ERESTART_RESTARTBLOCK 516

/* Stopped in a call that goes on by itself. */
static inline int mt_arch_restarts(const mt_regs *regs) {
    int64_t error = -(int64_t)regs->rax;
    return (int64_t)regs->orig_rax >= 0 && (error == KERNEL_ERESTARTSYS || error == KERNEL_ERESTARTNOINTR ||
                                            error == KERNEL_ERESTARTNOHAND || error == KERNEL_ERESTART_RESTARTBLOCK);
}

/* Stopped in one that does not.  All of them have done nothing when they say so. */
static inline int mt_arch_interrupted(const mt_regs *regs) {
    int64_t number = (int64_t)regs->orig_rax;
    return (int64_t)regs->rax == -EINTR && (mt_arch_notices(number) || mt_arch_may_notice(number));
}

/* Makes it go on like the others, unless a handler of the program's comes first: then it says EINTR. */
static inline void mt_arch_restart(mt_regs *regs) { regs->rax = (unsigned long long)-KERNEL_ERESTARTNOHAND; }

/* Of a thread in a call, or at its entry: back to just before it, as number. */
static inline void mt_arch_rewind(mt_regs *regs, int64_t number) {
    regs->rip -= MT_SYSCALL_SIZE;
    regs->rax = (unsigned long long)number;
}

/* ---- a signal frame -------------------------------------------------------------------------- */

/* arch/x86/include/asm/sigframe.h and include/uapi/asm/sigcontext.h: what rt_sigreturn finds at the stack pointer,
 * less its first word.  Before it, what makes a thread that runs into `ret` get there. */
typedef struct {
    uint64_t load, number, call; /* pop rax; ret, what it pops, syscall; ret: also the frame's first word */
    uint64_t flags, link, stack, stack_flags, stack_size;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2, vectors, reserved[8];
    uint64_t mask;
    uint8_t siginfo[128];
} mt_frame;

#define MT_FRAME_RETURN offsetof(mt_frame, load)  /* the stack pointer to `ret` from */
#define MT_FRAME_SIGRETURN offsetof(mt_frame, flags) /* and the one to call rt_sigreturn with */

/* The frame gives back regs and mask; at is where the vector state will be, saved in the layout of how. */
static inline void mt_arch_frame(mt_frame *frame, const mt_regs *regs, uint64_t mask, uint64_t vectors, int extended) {
    *frame = (mt_frame){
        .number = SYS_rt_sigreturn,
        .flags = 2 | 4 | (extended ? 1 : 0), /* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS, UC_FP_XSTATE */
        /* No flags that sigaltstack(2) takes: it refuses them, and the thread keeps the one that it has. */
        .stack_flags = 0x40,
        .r8 = regs->r8, .r9 = regs->r9, .r10 = regs->r10, .r11 = regs->r11, .r12 = regs->r12, .r13 = regs->r13,
        .r14 = regs->r14, .r15 = regs->r15, .rdi = regs->rdi, .rsi = regs->rsi, .rbp = regs->rbp,
        .rbx = regs->rbx, .rdx = regs->rdx, .rax = regs->rax, .rcx = regs->rcx, .rsp = regs->rsp,
        .rip = regs->rip, .eflags = regs->eflags,
        .cs = (uint16_t)regs->cs, .ss = (uint16_t)regs->ss, .gs = (uint16_t)regs->gs, .fs = (uint16_t)regs->fs,
        .vectors = vectors,
        .mask = mask,
    };
}

/* Stopped in its own code: `leave; ret` takes the thread to the frame.  Until then its stack pointer is its own, and
 * a signal is handled where it would have been.  orig_rax = -1 says "not in a system call". */
static inline void mt_arch_pivot(mt_regs *regs, uint64_t pivot, uint64_t frame) {
    regs->rip = pivot;
    regs->rbp = frame + MT_FRAME_RETURN - 8;
    regs->orig_rax = ~0ull;
}

/* Stopped at the entry of a call: it becomes rt_sigreturn with the frame at that address. */
static inline void mt_arch_heal(mt_regs *regs, uint64_t frame) {
    regs->orig_rax = SYS_rt_sigreturn;
    regs->rsp = frame + MT_FRAME_SIGRETURN;
}

/* Stopped there, too: it becomes number(argument), and what comes after it gives the thread back. */
static inline void mt_arch_call(mt_regs *regs, uint64_t code, uint64_t frame, long number, uint64_t argument) {
    regs->rip = code + MT_SYSCALL_SIZE;
    regs->rax = (unsigned long long)-ENOSYS;
    regs->rsp = frame + MT_FRAME_RETURN;
    regs->orig_rax = (unsigned long long)number;
    regs->rdi = argument;
}

/* Stopped anywhere else: as above, but it has yet to begin. */
static inline void mt_arch_begin(mt_regs *regs) {
    regs->rip -= MT_SYSCALL_SIZE;
    regs->rax = regs->orig_rax;
    regs->orig_rax = ~0ull;
}

/* ---- vector state ------------------------------------------------------------------------------ */

/* How a signal frame holds vector state: XSAVE's standard form, size bytes of it, with the legacy form's spare
 * bytes saying so, and a closing word; features 0: the legacy form only. */
typedef struct {
    uint32_t size;
    uint64_t features;
} mt_vectors;

#define MT_VECTORS_ALIGN 64
#define MT_LEGACY_SIZE 512 /* FXSAVE */
#define XSAVE_SPARE 464
#define XSAVE_HEADER 512
#define XSAVE_MAGIC1 0x46505853u
#define XSAVE_MAGIC2 0x46505845u
#define XSAVE_HEADER_SIZE 64
#define XSAVE_PKRU (1ull << 9)
#define XSAVE_TILES (1ull << 18)

typedef struct {
    uint32_t magic1, extended_size;
    uint64_t features;
    uint32_t size, padding[7];
} mt_xsave_spare;

/* Of this kernel on this processor: all features that are switched on (XCR0) but those that a program must ask
 * for (Documentation/arch/x86/xstate.rst).  ptrace's register set has these, too, and may be larger. */
static inline mt_vectors mt_arch_layout(void) {
    unsigned low, high, size, offset, c, d;
    mt_vectors layout = {MT_LEGACY_SIZE, 0};
    if (!__get_cpuid(1, &low, &high, &c, &d) || !(c & bit_OSXSAVE))
        return layout;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    layout.features = ((uint64_t)high << 32 | low) & ~XSAVE_TILES;
    layout.size = XSAVE_HEADER + XSAVE_HEADER_SIZE;
    for (int i = 2; i < 63; i++)
        if (layout.features & 1ull << i && __get_cpuid_count(0xd, (unsigned)i, &size, &offset, &c, &d) &&
            offset + size > layout.size)
            layout.size = offset + size;
    return layout;
}

/* The features that are in use in what ptrace gave. */
static inline uint64_t mt_arch_in_use(const char *state) {
    uint64_t features;
    memcpy(&features, state + XSAVE_HEADER, sizeof features);
    return features;
}

/* Makes what ptrace gave into what a signal frame holds.  Returns how many bytes it is. */
static inline size_t mt_arch_seal(char *state, const mt_vectors *layout) {
    const uint32_t magic2 = XSAVE_MAGIC2;
    if (layout->features == 0)
        return MT_LEGACY_SIZE;
    mt_xsave_spare spare = {XSAVE_MAGIC1, layout->size + (uint32_t)sizeof magic2, layout->features, layout->size, {0}};
    /* The value of PKRU is there in any case, while its bit may lag behind. */
    uint64_t in_use = (mt_arch_in_use(state) | XSAVE_PKRU) & layout->features;
    memcpy(state + XSAVE_SPARE, &spare, sizeof spare);
    memcpy(state + XSAVE_HEADER, &in_use, sizeof in_use);
    memcpy(state + layout->size, &magic2, sizeof magic2);
    return layout->size + sizeof magic2;
}

#endif
