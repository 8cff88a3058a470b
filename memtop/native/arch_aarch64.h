/*
 * What stopping a thread and injecting a system call need to know about arm64.  It compiles; nothing of it has
 * been proven on such a machine, so MT_CAN_INJECT stays 0 (inject.h) and memtop refuses with that reason.
 *
 * Open: the kernel restarts interrupted system calls before it stops the thread, and what x0 was then is not among
 * the registers that a tracer sees.  So one that says EINTR can't be made to go on as on x86-64.
 */
#ifndef MEMTOP_ARCH_H
#define MEMTOP_ARCH_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/user.h>

typedef struct user_regs_struct mt_regs; /* NT_PRSTATUS */

#define MT_SYSCALL_CODE "\x01\x00\x00\xd4" /* svc #0 */
#define MT_SYSCALL_SIZE 4
#define MODE_32_BIT 0x10 /* in pstate */

static inline int mt_arch_compat(const mt_regs *regs, size_t size) {
    return size != sizeof *regs || regs->pstate & MODE_32_BIT;
}

static inline void mt_arch_call(mt_regs *regs, uint64_t code, long number, uint64_t argument) {
    regs->pc = code;
    regs->regs[8] = (uint64_t)number;
    regs->regs[0] = argument;
}

static inline uint64_t mt_arch_ip(const mt_regs *regs) { return regs->pc; }
static inline void mt_arch_set_ip(mt_regs *regs, uint64_t ip) { regs->pc = ip; }
static inline int64_t mt_arch_result(const mt_regs *regs) { return (int64_t)regs->regs[0]; }

/* Those of arch_x86_64.h that arm64 has. */
static inline int mt_arch_interrupted(const mt_regs *regs) {
    if ((int64_t)regs->regs[0] != -EINTR)
        return 0;
    switch (regs->regs[8]) {
    case SYS_epoll_pwait: case 441: /* epoll_pwait2 */
    case SYS_semop: case SYS_semtimedop: case SYS_rt_sigtimedwait:
    case SYS_io_getevents: case 292: /* io_pgetevents */ case 426: /* io_uring_enter */
    case SYS_read: case SYS_readv: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
    case SYS_write: case SYS_writev: case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
    case SYS_accept: case SYS_accept4:
        return 1;
    }
    return 0;
}

#endif
