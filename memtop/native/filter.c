/*
 * What a thread's seccomp filters would say (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).
 *
 * They are suspended while we trace it; but if we are killed, the call that it is about to make meets them.  So
 * they are asked beforehand, with a machine for their classic BPF that knows the call's number and nothing else.
 */
#include "inject.h"

#if MT_CAN_INJECT

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>

#define GET_FILTER 0x420c /* PTRACE_SECCOMP_GET_FILTER */
#define MOST 4096         /* BPF_MAXINSNS */
#define DOUBTFUL SECCOMP_RET_KILL_PROCESS

static uint32_t calculate(uint16_t code, uint32_t a, uint32_t operand) {
    switch (BPF_OP(code)) {
    case BPF_ADD: return a + operand;
    case BPF_SUB: return a - operand;
    case BPF_MUL: return a * operand;
    case BPF_DIV: return operand ? a / operand : 0;
    case BPF_AND: return a & operand;
    case BPF_OR: return a | operand;
    case BPF_XOR: return a ^ operand;
    case BPF_LSH: return operand < 32 ? a << operand : 0;
    case BPF_RSH: return operand < 32 ? a >> operand : 0;
    default: return 0 - a; /* BPF_NEG */
    }
}

static int holds(uint16_t code, uint32_t a, uint32_t operand) {
    switch (BPF_OP(code)) {
    case BPF_JEQ: return a == operand;
    case BPF_JGT: return a > operand;
    case BPF_JGE: return a >= operand;
    default: return (a & operand) != 0; /* BPF_JSET */
    }
}

uint32_t mt_filter_run(const struct sock_filter *program, size_t count, uint32_t number) {
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    for (size_t i = 0; i < count; i++) { /* jumps go forward only */
        const struct sock_filter *f = &program[i];
        uint32_t operand = BPF_SRC(f->code) == BPF_X ? x : f->k;
        switch (BPF_CLASS(f->code)) {
        case BPF_LD:
        case BPF_LDX: {
            uint32_t value;
            if (BPF_MODE(f->code) == BPF_IMM)
                value = f->k;
            else if (BPF_MODE(f->code) == BPF_MEM)
                value = memory[f->k % BPF_MEMWORDS];
            else if (BPF_MODE(f->code) == BPF_LEN)
                value = sizeof(struct seccomp_data);
            else if (f->k == offsetof(struct seccomp_data, nr))
                value = number;
            else if (f->k == offsetof(struct seccomp_data, arch))
                value = AUDIT_ARCH_X86_64;
            else
                return DOUBTFUL; /* an argument or the address: we do not know all of them yet */
            *(BPF_CLASS(f->code) == BPF_LD ? &a : &x) = value;
            break;
        }
        case BPF_ST: memory[f->k % BPF_MEMWORDS] = a; break;
        case BPF_STX: memory[f->k % BPF_MEMWORDS] = x; break;
        case BPF_ALU: a = calculate(f->code, a, operand); break;
        case BPF_JMP:
            if (BPF_OP(f->code) == BPF_JA)
                i += f->k;
            else
                i += holds(f->code, a, operand) ? f->jt : f->jf;
            break;
        case BPF_RET: return BPF_RVAL(f->code) == BPF_A ? a : f->k;
        default: *(BPF_MISCOP(f->code) == BPF_TAX ? &x : &a) = BPF_MISCOP(f->code) == BPF_TAX ? a : x;
        }
    }
    return DOUBTFUL;
}

/* Of several filters the one decides whose action is the most severe: the smallest, as a signed number. */
static uint32_t severest(uint32_t a, uint32_t b) {
    return (int32_t)(a & SECCOMP_RET_ACTION_FULL) <= (int32_t)(b & SECCOMP_RET_ACTION_FULL) ? a : b;
}

int mt_filters_harmless(int tid) {
    static struct sock_filter program[MOST];
    static const uint32_t numbers[] = {SYS_rt_sigreturn, SYS_userfaultfd, SYS_close};
    uint32_t verdicts[] = {SECCOMP_RET_ALLOW, SECCOMP_RET_ALLOW, SECCOMP_RET_ALLOW};
    uintptr_t i = 0;
    for (;; i++) {
        long count = ptrace(GET_FILTER, tid, (void *)i, 0);
        if (count < 0 && errno == ENOENT && i > 0)
            break;
        /* EINVAL: strict mode; EIO: a kernel built without CONFIG_CHECKPOINT_RESTORE */
        if (count < 0 || count > MOST || ptrace(GET_FILTER, tid, (void *)i, program) != count)
            return 0;
        for (int n = 0; n < 3; n++)
            verdicts[n] = severest(verdicts[n], mt_filter_run(program, (size_t)count, numbers[n]));
    }
    for (int n = 0; n < 3; n++)
        switch (verdicts[n] & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_ALLOW: case SECCOMP_RET_LOG:
            break;
        case SECCOMP_RET_ERRNO: case SECCOMP_RET_TRACE: /* it fails, and the thread goes on to rt_sigreturn */
            if (numbers[n] == SYS_userfaultfd)
                break;
            return 0; /* close: after we let go, it meets the filters in any case */
        default: /* the end of the process, a SIGSYS, or a supervisor that hears of it */
            return 0;
        }
    return 1;
}

#endif
