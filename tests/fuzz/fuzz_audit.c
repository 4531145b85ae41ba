/* fuzz_audit.c - any bytes as an audit log: reading them ends, a verdict names
 * a place, and what a log says when it goes on behind them is a whole chain
 * unless a finished line was forged. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "host/audit_check.h"
#include "host/audit_file.h"

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    SEED("{\"seq\":1,\"time\":\"2026-11-21T18:41:04.000Z\",\"event\":\"file\","
         "\"prev\":\"" ZERO "\",\"hash\":\"" ZERO "\"}\n"),
    SEED("{\"seq\":2,\"time\":\"2026-11-21T18:41:04.000Z\",\"event\":"
         "\"resumed\",\"half_bytes\":7,\"half_sha256\":\"" ZERO
         "\",\"prev\":\"" ZERO "\",\"hash\":\"" ZERO "\"}\n{\"seq\":3,"),
    SEED("\n\n{\"seq\":18446744073709551615,\"time\":\"\",\"event\":\"\"}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static char name[64];

static void write_file(const char *mode, const void *data, size_t len) {
  FILE *f = fopen(name, mode);
  assert(f && fwrite(data, 1, len, f) == len);
  fclose(f);
}

static bool has_finished_line(const uint8_t *data, size_t len) {
  const char *at = (const char *)data, *end = at + len, *nl;
  for (; at < end; at = nl + 1) {
    nl = memchr(at, '\n', (size_t)(end - at));
    if (!nl) nl = end;
    if (audit_line_is_finished(at, (size_t)(nl - at))) return true;
  }
  return false;
}

static struct audit_verdict judge(void) {
  struct audit_verdict v;
  char *files[] = {name};
  assert(audit_check(&v, files, 1, NULL) == 0);
  assert(v.ok == !v.first[0]);
  return v;
}

/* Behind a record that is true. */
static void after_a_crash(const uint8_t *data, size_t len) {
  struct audit_file f;
  char why[AUDIT_WHY];
  unlink(name);
  assert(audit_file_open(&f, name, 1 << 20, 1, "r", "i", why) == 0);
  assert(audit_file_write(&f) == 0);
  audit_file_close(&f);
  write_file("a", data, len);
  assert(audit_file_open(&f, name, 1 << 20, 1, "r", "i", why) == 0);
  assert(audit_file_write(&f) == 0);
  audit_file_close(&f);
  assert(judge().ok || has_finished_line(data, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct audit_line l;
  if (!name[0]) {
    snprintf(name, sizeof(name), "/dev/shm/ztna-fuzz-audit.%d", (int)getpid());
    if (access("/dev/shm", W_OK) < 0)
      snprintf(name, sizeof(name), "/tmp/ztna-fuzz-audit.%d", (int)getpid());
  }
  if (audit_line_read(&l, (const char *)data, len))
    assert(strlen(l.hash) == AUDIT_HEX - 1 && strlen(l.event) < 24);
  audit_line_number((const char *)data, len, "records");
  write_file("w", data, len);
  judge();
  if (len < 8192) after_a_crash(data, len);
  unlink(name);
  return 0;
}
