/* A 32-bit program without a C library, for machines that can run it but have no 32-bit one: sleeps. */
__attribute__((noreturn)) void _start(void) {
    long span[2] = {0, 3000000}, result;
    for (;;) __asm__ volatile("int $0x80" : "=a"(result) : "a"(162), "b"(span), "c"(0) : "memory");
}
