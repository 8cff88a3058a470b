/* A program without a C library: it sleeps, and has no code but this. */
static long call(long number, void *argument) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(argument), "S"(0) : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    static long moment[2] = {0, 1000000};
    for (;;)
        call(35 /* nanosleep */, moment);
}
