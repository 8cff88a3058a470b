/* Waits in vfork for a child that waits for its stdin to end, in state D; a second thread sleeps. */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

static void *wait(void *argument) {
    for (;;)
        pause();
    return argument;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, wait, 0))
        return 1;
    if (vfork() == 0) {
        char byte;
        while (read(0, &byte, 1) > 0)
            ;
        _exit(0);
    }
    return 0;
}
