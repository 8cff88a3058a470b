/* All registers at known values during one system call, or during a while of computing. */
#ifndef HOLD_H
#define HOLD_H

#include <stddef.h>
#include <stdint.h>

#define SPIN (-1) /* in place of a system call's number */
#define MXCSR 0x5fc0u       /* as set below: rounding down and up, denormals are zero */
#define X87_CONTROL 0x0a7fu

struct hold {
    int64_t number;                     /*    0 */
    uint64_t general_in[14];            /*    8: rdi rsi rdx r10 r8 r9 rbx rbp r12-r15, rcx r11 */
    int64_t result;                     /*  120 */
    uint64_t general_out[14];           /*  128 */
    uint64_t flags_out;                 /*  240 */
    uint32_t mxcsr_out;                 /*  248 */
    uint16_t x87_control_out, reserved; /*  252 */
    uint64_t mask_in[8], mask_out[8];   /*  256,  320 */
    uint64_t zone_in[16], zone_out[16]; /*  384,  512 */
    double x87_in, x87_out;             /*  640,  648 */
    uint8_t vector_in[32][64] __attribute__((aligned(64))); /* 704 */
    uint8_t vector_out[32][64];                             /* 2752 */
};
_Static_assert(offsetof(struct hold, vector_out) == 2752 && offsetof(struct hold, zone_in) == 384 &&
                   offsetof(struct hold, general_out) == 128 && offsetof(struct hold, x87_in) == 640,
               "the assembly below counts on it");

void hold_512(struct hold *h), hold_256(struct hold *h);
/* Calls what(h) on another stack. */
void hold_on(void *stack_end, void (*what)(struct hold *), struct hold *h);

#define HOLD_COMMON(name, load_vectors, store_vectors)                                                       \
    __asm__(".text\n.p2align 4\n.globl " name "\n.type " name ", @function\n" name ":\n"                     \
            "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"                        \
            "sub $16, %rsp\n stmxcsr (%rsp)\n fnstcw 4(%rsp)\n"                                              \
            "push %rdi\n"                                                                                    \
            "movl $0x5fc0, -8(%rsp)\n ldmxcsr -8(%rsp)\n"                                                    \
            "movw $0x0a7f, -8(%rsp)\n fldcw -8(%rsp)\n fldl 640(%rdi)\n" load_vectors                        \
            ".set i, 0\n.rept 16\n mov 384+i*8(%rdi), %rax\n mov %rax, -128+i*8(%rsp)\n .set i, i+1\n.endr\n" \
            "mov (%rdi), %rax\n"                                                                             \
            "mov 16(%rdi), %rsi\n mov 24(%rdi), %rdx\n mov 32(%rdi), %r10\n mov 40(%rdi), %r8\n"             \
            "mov 48(%rdi), %r9\n mov 56(%rdi), %rbx\n mov 64(%rdi), %rbp\n mov 72(%rdi), %r12\n"             \
            "mov 80(%rdi), %r13\n mov 88(%rdi), %r14\n mov 96(%rdi), %r15\n mov 104(%rdi), %rcx\n"           \
            "mov 112(%rdi), %r11\n mov 8(%rdi), %rdi\n"                                                      \
            "cmp $-1, %rax\n je 1f\n"                                                                        \
            "syscall\n"                                                                                      \
            "mov (%rsp), %rcx\n mov %rax, 120(%rcx)\n mov %rcx, %rax\n jmp 3f\n"                             \
            "1: mov $200000, %eax\n stc\n std\n"                                                             \
            "2: dec %rax\n jnz 2b\n"                                                                         \
            "mov (%rsp), %rax\n"                                                                             \
            "3: mov %rdi, 128(%rax)\n mov %rsi, 136(%rax)\n mov %rdx, 144(%rax)\n mov %r10, 152(%rax)\n"     \
            "mov %r8, 160(%rax)\n mov %r9, 168(%rax)\n mov %rbx, 176(%rax)\n mov %rbp, 184(%rax)\n"          \
            "mov %r12, 192(%rax)\n mov %r13, 200(%rax)\n mov %r14, 208(%rax)\n mov %r15, 216(%rax)\n"        \
            "mov %rcx, 224(%rax)\n mov %r11, 232(%rax)\n"                                                    \
            ".set i, 0\n.rept 16\n mov -128+i*8(%rsp), %rcx\n mov %rcx, 512+i*8(%rax)\n .set i, i+1\n.endr\n" \
            "pushfq\n pop 240(%rax)\n cld\n"                                                                 \
            "stmxcsr 248(%rax)\n fnstcw 252(%rax)\n fstpl 648(%rax)\n" store_vectors                         \
            "vzeroupper\n"                                                                                   \
            "pop %rdi\n ldmxcsr (%rsp)\n fldcw 4(%rsp)\n add $16, %rsp\n"                                    \
            "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"                        \
            ".size " name ", .-" name "\n")

#define EACH(count, what) ".altmacro\n.set i, 0\n.rept " #count "\n" what " %i\n.set i, i+1\n.endr\n.noaltmacro\n"

__asm__(".macro load_z n\n vmovdqu64 704+64*\\n(%rdi), %zmm\\n\n.endm\n"
        ".macro save_z n\n vmovdqu64 %zmm\\n, 2752+64*\\n(%rax)\n.endm\n"
        ".macro load_y n\n vmovdqu 704+64*\\n(%rdi), %ymm\\n\n.endm\n"
        ".macro save_y n\n vmovdqu %ymm\\n, 2752+64*\\n(%rax)\n.endm\n"
        ".macro load_k n\n kmovq 256+8*\\n(%rdi), %k\\n\n.endm\n"
        ".macro save_k n\n kmovq %k\\n, 320+8*\\n(%rax)\n.endm\n");
HOLD_COMMON("hold_512", EACH(32, "load_z") EACH(8, "load_k"), EACH(32, "save_z") EACH(8, "save_k"));
HOLD_COMMON("hold_256", EACH(16, "load_y"), EACH(16, "save_y"));

__asm__(".text\n.globl hold_on\n.type hold_on, @function\nhold_on:\n"
        "push %rbp\n mov %rsp, %rbp\n mov %rdi, %rsp\n mov %rdx, %rdi\n call *%rsi\n mov %rbp, %rsp\n pop %rbp\n ret\n"
        ".size hold_on, .-hold_on\n");

#endif
