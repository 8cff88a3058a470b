/* What injecting a system call needs to know about x86-64.  Another processor gets a header of its own. */
#ifndef MEMTOP_ARCH_H
#define MEMTOP_ARCH_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/user.h>

typedef struct user_regs_struct mt_regs; /* NT_PRSTATUS */

#define MT_SYSCALL_CODE "\x0f\x05" /* syscall */
#define MT_SYSCALL_SIZE 2

/* A 32-bit thread: the register set is another one, and so are its system calls. */
static inline int mt_arch_compat(const mt_regs *regs, size_t size) {
    return size != sizeof *regs || regs->cs == 0x23;
}

/* The thread will run number(argument) with the syscall instruction at code.  orig_rax = -1 says "not in a
 * system call", so that the kernel does not restart, on these registers, the one that we interrupted. */
static inline void mt_arch_call(mt_regs *regs, uint64_t code, long number, uint64_t argument) {
    regs->rip = code;
    regs->rax = (unsigned long long)number;
    regs->rdi = argument;
    regs->orig_rax = ~0ull;
}

static inline uint64_t mt_arch_ip(const mt_regs *regs) { return regs->rip; }
static inline void mt_arch_set_ip(mt_regs *regs, uint64_t ip) { regs->rip = ip; }
static inline int64_t mt_arch_result(const mt_regs *regs) { return (int64_t)regs->rax; }
static inline int mt_arch_in_syscall(const mt_regs *regs) { return (int64_t)regs->orig_rax >= 0; }

/* Most system calls restart by themselves after a stop (the kernel does it once our registers are gone and
 * the thread's own, with -ERESTART* in rax, are back).  These return EINTR instead (signal(7), "Interruption
 * of system calls and library functions by stop signals").  All of them have done nothing when they say so,
 * so running them again is what the program would have seen without us, but that a timeout begins anew.
 * close and connect are not such. */
static inline int mt_arch_interrupted(const mt_regs *regs) {
    if ((int64_t)regs->rax != -EINTR)
        return 0;
    switch (regs->orig_rax) {
    case SYS_epoll_wait: case SYS_epoll_pwait: case 441: /* epoll_pwait2 */
    case SYS_semop: case SYS_semtimedop: case SYS_rt_sigtimedwait:
    case SYS_io_getevents: case 333: /* io_pgetevents */ case 426: /* io_uring_enter */
    /* These only on sockets with a timeout. */
    case SYS_read: case SYS_readv: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
    case SYS_write: case SYS_writev: case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
    case SYS_accept: case SYS_accept4:
        return 1;
    }
    return 0;
}

#define KERNEL_ERESTARTNOHAND 514

/* Makes it go on like the others, unless a handler of the program's comes first: then it says EINTR. */
static inline void mt_arch_restart(mt_regs *regs) { regs->rax = (unsigned long long)-KERNEL_ERESTARTNOHAND; }

/* Makes the thread run the interrupted system call again, as the kernel does for its own restarts. */
static inline void mt_arch_rewind(mt_regs *regs) {
    regs->rip -= MT_SYSCALL_SIZE;
    regs->rax = regs->orig_rax;
}

#endif
