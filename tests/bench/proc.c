/* proc.c - see proc.h. */
#ifdef __linux__
#include "bench/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* schedstat counts nanoseconds, where /proc/PID/stat has only ticks. */
double proc_cpu(int pid) {
  char path[300];
  double sum = 0;
  snprintf(path, sizeof(path), "/proc/%d/task", pid);
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d));) {
    unsigned long long ns = 0;
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid,
             e->d_name);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    if (fscanf(f, "%llu", &ns) == 1) sum += (double)ns / 1e9;
    fclose(f);
  }
  if (d) closedir(d);
  return sum;
}

long proc_memory(int pid, const char *what) {
  char path[64], line[256];
  long kb = -1;
  snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
  FILE *f = fopen(path, "r");
  size_t n = strlen(what);
  while (f && fgets(line, sizeof(line), f))
    if (!strncmp(line, what, n) && line[n] == ':')
      sscanf(line + n + 1, "%ld", &kb);
  if (f) fclose(f);
  return kb;
}

#endif
