/* proc.h - what another process has used so far, by /proc. */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

double proc_cpu(int pid); /* seconds on a CPU, all threads */
/* Kilobytes: "Rss", "Pss", "Anonymous"; -1 unknown. */
long proc_memory(int pid, const char *what);

#endif
