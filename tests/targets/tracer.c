/* Traces a process as a debugger does, without stopping it: tracer PID. Prints "ok" when attached. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <signal.h>
#include <unistd.h>

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 2 || ptrace(PTRACE_SEIZE, atoi(argv[1]), NULL, NULL)) return perror("tracer"), 1;
    puts("ok");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}
