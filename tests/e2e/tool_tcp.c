/* tool_tcp.c - TCP services that behave in known ways, and clients that say
 * exactly what they saw, for tests and measurements.
 *
 *   tool_tcp serve PORT=BEHAVIOUR...   on all addresses, until killed:
 *     echo, discard, flood             what they say
 *     source                           what `get` asks for
 *     sink[:AT:SECONDS]                what `put` gives; sleeps after AT bytes
 *     reply:N                          N bytes once the client has half-closed
 *     slow:N                           N bytes, one a second
 *     close                            accepts and closes
 *     reset:N                          RST after N bytes sent
 *     cut:N                            RST after N bytes received
 *   tool_tcp get|put ADDR:PORT [bytes=N] [nap=SECONDS] [seed=N]
 *     all bytes compared at the receiver; sleeps in the middle
 *   tool_tcp probe ADDR:PORT [send=N] [shut=1] [gaps=1] [after=1] [time=1]
 *     what a program sees of a connection, one event a line
 *   tool_tcp rr ADDR:PORT [seconds=N] [gap_ms=N]     a byte to an echo and back
 *   tool_tcp crr ADDR:PORT [seconds=N] [n=THREADS]   connect, a byte, close
 *   tool_tcp many ADDR:PORT [seconds=N] [n=THREADS]  users, for short and long
 *   tool_tcp bulk down|up ADDR:PORT [streams=N] [seconds=N] [NAME:PID]...
 *     from `flood` or to `discard`; CPU of those processes per gigabyte
 *
 * Answers are KEY=VALUE; the exit code is 0 when all went well. */
#include "tcp.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/bare.h"

static const struct {
  const char *name;
  int least;
  int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", 1, tcp_serve}, {"get", 1, tcp_get},   {"put", 1, tcp_put},
    {"probe", 1, tcp_probe}, {"rr", 1, tcp_rr},     {"crr", 1, tcp_crr},
    {"many", 1, tcp_many},   {"bulk", 2, tcp_bulk},
};

int main(int argc, char **argv) {
  struct rlimit many;
  signal(SIGPIPE, SIG_IGN);
  if (getrlimit(RLIMIT_NOFILE, &many) == 0) {
    many.rlim_cur = many.rlim_max;
    setrlimit(RLIMIT_NOFILE, &many);
  }
  for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
    if (argc > 1 + commands[i].least && !strcmp(argv[1], commands[i].name))
      return commands[i].run(argc - 2, argv + 2);
  bare_die("usage: tool_tcp serve PORT=BEHAVIOUR... | get|put|probe|rr|crr|"
           "many ADDR:PORT [KEY=N]... | bulk down|up ADDR:PORT ...");
}
