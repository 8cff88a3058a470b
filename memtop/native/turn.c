/*
 * The injector's turn on a processor: the target's own, and first there.
 *
 * On another processor each of the handful of changes between injector and thread would wait for an interrupt from one
 * to the other and for a sleeping processor to wake: twice the stop, in a virtual machine.  Beside the thread, each
 * is one switch.  But only for the stop: what comes before and after it would keep the target from running, too.
 */
#include "inject.h"

#if MT_CAN_INJECT

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "child.h"

#define FIELD_PROCESSOR 39 /* proc_pid_stat(5) */

/* The processor that it runs on, or ran on last; -1: not known. */
static int processor_of(int pid, int tid) {
    char text[1024];
    const char *at = mt_read_task(pid, tid, "stat", text, sizeof text) < 0 ? 0 : strrchr(text, ')');
    for (int field = 2; at && field < FIELD_PROCESSOR; field++)
        at = strchr(at + 1, ' ');
    return at ? atoi(at) : -1;
}

void mt_turn_begin(mt_job *j) {
    /* We sleep whenever the thread runs, so real-time priority takes nothing from anybody. */
    if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}) != 0)
        setpriority(PRIO_PROCESS, 0, -20);
    int cpu = processor_of(j->pid, j->tid);
    CPU_ZERO(&j->processors);
    if (cpu >= 0 && cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof j->processors, &j->processors) == 0) {
        cpu_set_t there;
        CPU_ZERO(&there);
        CPU_SET(cpu, &there);
        sched_setaffinity(0, sizeof there, &there); /* as far as our cpuset lets us */
    }
}

/* Not to a certain other processor: the kernel may just have put the thread there.  A thread that our end detaches
 * gets no signal until then, so that end is not to wait for all others. */
void mt_turn_end(const mt_job *j) {
    sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
    if (j->detached)
        setpriority(PRIO_PROCESS, 0, 19);
    if (CPU_COUNT(&j->processors))
        sched_setaffinity(0, sizeof j->processors, &j->processors);
}

#endif
