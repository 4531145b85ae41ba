/* test_confine.c - which directories a configuration leaves writable. Each test
 * enters the sandbox in a process of its own, and tries. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/confine.h"

enum { WAIT_S = 10, NO_LANDLOCK = 255 };

static char dir[64], cert[96], ca[96], state[96];

static int setup(void **unused) {
  strcpy(dir, "/tmp/ztna-confine-XXXXXX");
  assert_non_null(mkdtemp(dir));
  snprintf(cert, sizeof(cert), "%s/cert/a.pem", dir);
  snprintf(ca, sizeof(ca), "%s/ca/ca.pem", dir);
  snprintf(state, sizeof(state), "%s/state", dir);
  assert_int_equal(mkdir(state, 0700), 0);
  for (char **v = (char *[]){cert, ca, NULL}; *v; v++) {
    *strrchr(*v, '/') = 0;
    assert_int_equal(mkdir(*v, 0700), 0);
    (*v)[strlen(*v)] = '/';
    close(open(*v, O_CREAT | O_WRONLY, 0600));
  }
  return 0;
}

static int teardown(void **unused) {
  for (char **v = (char *[]){cert, ca, NULL}; *v; v++) {
    unlink(*v);
    *strrchr(*v, '/') = 0;
    rmdir(*v);
  }
  rmdir(state);
  return rmdir(dir);
}

static bool opens(const char *name, int how) {
  int fd = open(name, how);

  if (fd >= 0) close(fd);
  return fd >= 0;
}

/* Bits: 1 cert can be written, 2 ca, 4 both can be read. */
static int tried(void) {
  const json_t *l = json_object_get(confine_status(), "landlock");

  if (!json_is_true(json_object_get(l, "in_force"))) return NO_LANDLOCK;
  return opens(cert, O_WRONLY) | opens(ca, O_WRONLY) << 1 |
         (opens(cert, O_RDONLY) && opens(ca, O_RDONLY)) << 2;
}

static int in_sandbox(unsigned role, char *enroll) {
  struct config c = {.identity = {.cert = cert, .ca = ca, .enroll = enroll},
                     .sandbox = {.user = (char *)"", .landlock = true},
                     .state_dir = state};
  int status;
  pid_t child = fork();

  assert_true(child >= 0);
  if (child == 0) {
    alarm(WAIT_S);
    confine_begin();
    confine(&c, role, NULL, false);
    _exit(tried());
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == NO_LANDLOCK) skip();
  return WEXITSTATUS(status);
}

static void certificates_are_only_read(void **unused) {
  assert_int_equal(in_sandbox(CONFIG_AGENT, NULL), 4);
  assert_int_equal(in_sandbox(CONFIG_CONNECTOR, NULL), 4);
  assert_int_equal(in_sandbox(CONFIG_RELAY, NULL), 4);
}

static void who_renews_them_writes_them(void **unused) {
  char service[] = "ca.test:4435";

  assert_int_equal(in_sandbox(CONFIG_AGENT, service), 7);
  assert_int_equal(in_sandbox(CONFIG_CONNECTOR, service), 7);
}

static void a_relay_never_writes_them(void **unused) {
  char service[] = "ca.test:4435";

  assert_int_equal(in_sandbox(CONFIG_RELAY, service), 4);
}

#define ALONE(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ALONE(certificates_are_only_read),
      ALONE(who_renews_them_writes_them),
      ALONE(a_relay_never_writes_them),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
