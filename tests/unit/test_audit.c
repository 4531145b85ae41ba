/* test_audit.c - the audit log on disk: its chain, what breaks it, new files,
 * crashes, and a disk that takes nothing. */
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/time.h"
#include "host/audit.h"
#include "host/audit_check.h"
#include "host/audit_file.h"
#include "transport/hash.h"

static char dir[64], path[96];

static int make_dir(void **state) {
  strcpy(dir, "/tmp/ztna-audit.XXXXXX");
  if (!mkdtemp(dir)) return -1;
  snprintf(path, sizeof(path), "%s/audit.jsonl", dir);
  return 0;
}

static int remove_dir(void **state) {
  char command[128];
  snprintf(command, sizeof(command), "rm -rf '%s'", dir);
  return system(command);
}

/* --- writing --- */

static struct audit_config config(uint64_t rotate, unsigned keep) {
  return (struct audit_config){.file = path, .rotate = rotate, .keep = keep};
}

static struct audit *opened(size_t room) {
  struct audit_config c = config(1 << 20, 3);
  struct audit *a;
  assert_int_equal(
      audit_open_sized(&a, &c, "relay", "spiffe://x/relay/r", room), 0);
  assert_non_null(a);
  return a;
}

static struct audit_record record(const char *agent) {
  return (struct audit_record){.event = AUDIT_FLOW_END,
                               .at = 5 * SEC,
                               .began_at = 2 * SEC,
                               .agent = agent,
                               .serial = "0a1b",
                               .service = "web",
                               .rule = "the \"first\"\n",
                               .protocol = "tcp",
                               .port = 443,
                               .has_bytes = true,
                               .bytes_in = 11,
                               .bytes_out = 22,
                               .path = AUDIT_PATH_DIRECT,
                               .reason = REASON_IDLE};
}

static void write_some(struct audit *a, int n) {
  char agent[64];
  for (int i = 0; i < n; i++) {
    snprintf(agent, sizeof(agent), "spiffe://x/agent/a%d", i);
    struct audit_record r = record(agent);
    audit_write(a, &r);
  }
}

/* start, n records, stop: with "file" n + 3 lines */
static void log_of(int n) {
  struct audit *a = opened(1 << 20);
  write_some(a, n);
  audit_close(a, NULL);
}

/* --- the file as text --- */

static char *slurp(const char *name) {
  static char text[4 << 20];
  FILE *f = fopen(name, "r");
  assert_non_null(f);
  text[fread(text, 1, sizeof(text) - 1, f)] = 0;
  fclose(f);
  return text;
}

static void spit(const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static char *line_of(char *text, int n) {
  while (--n) text = strchr(text, '\n') + 1;
  return text;
}

static size_t line_len(const char *line) {
  return (size_t)(strchr(line, '\n') - line) + 1;
}

/* --- judging --- */

static struct audit_verdict verdict(void) {
  struct audit_verdict v;
  char *files[] = {path};
  assert_int_equal(audit_check(&v, files, 1, NULL), 0);
  return v;
}

static void expect_broken(const char *at, const char *what) {
  struct audit_verdict v = verdict();
  char begin[256];
  assert_false(v.ok);
  snprintf(begin, sizeof(begin), "%s:%s: %s", path, at, what);
  if (strncmp(v.first, begin, strlen(begin)))
    fail_msg("got %s, want %s", v.first, begin);
}

static void sha256_is_that_of_the_standard(void **state) {
  static const uint8_t abc[HASH_LEN] = {
      0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
      0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
      0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
  uint8_t out[HASH_LEN];
  hash_sha256("abc", 3, out);
  assert_memory_equal(out, abc, sizeof(abc));
}

static void every_record_is_a_line_that_follows_the_former(void **state) {
  log_of(3);
  struct audit_verdict v = verdict();
  assert_string_equal(v.first, "");
  assert_true(v.ok);
  assert_true(v.has_begin);
  assert_int_equal(v.n_records, 6);
  assert_int_equal(v.last_seq, 6);
  char *text = slurp(path);
  assert_non_null(strstr(
      text, "\"event\":\"flow-end\",\"agent\":\"spiffe://x/agent/a1\","
            "\"serial\":\"0a1b\",\"service\":\"web\",\"protocol\":\"tcp\","
            "\"port\":443,\"rule\":\"the \\\"first\\\"\\u000a\","));
  assert_non_null(strstr(text, "\"bytes_from_agent\":11,\"bytes_to_agent\":22,"
                               "\"path\":\"direct\",\"reason\":\"idle\","));
}

static void nobody_else_may_read_it(void **state) {
  struct stat st;
  log_of(1);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(chmod(path, 0644), 0);
  log_of(1);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_new_start_goes_on_with_the_chain(void **state) {
  log_of(2);
  log_of(2);
  struct audit_verdict v = verdict();
  assert_true(v.ok);
  assert_int_equal(v.n_records, 9);
}

static void an_altered_record_is_named(void **state) {
  log_of(5);
  char *text = slurp(path), *line = line_of(text, 4);
  char *at = strstr(line, "\"bytes_from_agent\":11");
  at[strlen("\"bytes_from_agent\":1")] = '2';
  spit(text);
  expect_broken("4", "altered");
}

static void a_record_altered_with_its_hash_is_named(void **state) {
  char line[AUDIT_LINE_MAX], hash[AUDIT_HEX];
  log_of(5);
  char *text = slurp(path), *at = line_of(text, 4);
  struct audit_line l;
  assert_true(audit_line_read(&l, at, line_len(at) - 1));
  /* Whoever knows the format writes the line anew. */
  char *body = strstr(at, "\"time\""), *end = strstr(at, ",\"prev\"");
  *strstr(body, "web") = 'W';
  strcpy(hash, l.prev);
  size_t n = audit_line_make(line, l.seq, body, (size_t)(end - body), hash);
  assert_int_equal(n, line_len(at));
  memcpy(at, line, n);
  spit(text);
  expect_broken("4", "altered");
}

static void a_missing_record_is_named(void **state) {
  log_of(5);
  char *text = slurp(path), *line = line_of(text, 4);
  memmove(line, line + line_len(line), strlen(line + line_len(line)) + 1);
  spit(text);
  expect_broken("4", "missing: record 4 ");
}

static void missing_records_at_the_begin_are_named(void **state) {
  log_of(5);
  char *text = slurp(path);
  spit(line_of(text, 3));
  expect_broken("1", "missing: the records before 3");
}

static void exchanged_records_are_named(void **state) {
  char both[2 * AUDIT_LINE_MAX];
  log_of(5);
  char *text = slurp(path), *a = line_of(text, 4), *b = line_of(text, 5);
  size_t n = line_len(a), m = line_len(b);
  memcpy(both, b, m);
  memcpy(both + m, a, n);
  memcpy(a, both, n + m);
  spit(text);
  expect_broken("4", "reordered: record 4 is at");
}

static void what_was_waited_for_is_in_the_file(void **state) {
  struct audit *a = opened(1 << 20);
  for (int i = 0; i < 20; i++) {
    write_some(a, 1);
    assert_true(audit_flush(a, 5000));
    char *at = slurp(path);
    int n = 0;
    while ((at = strstr(at, "spiffe://x/agent/a0"))) at++, n++;
    assert_int_equal(n, i + 1);
  }
  audit_close(a, NULL);
}

static void a_repeated_record_is_named(void **state) {
  static char out[1 << 20];
  log_of(5);
  char *text = slurp(path), *a = line_of(text, 4);
  size_t head = (size_t)(a - text) + line_len(a);
  memcpy(out, text, head);
  memcpy(out + head, a, line_len(a));
  strcpy(out + head + line_len(a), text + head);
  spit(out);
  expect_broken("5", "reordered: record 4 is behind record 4");
}

static void an_end_cut_off_is_found_by_a_hash_noted_earlier(void **state) {
  log_of(5);
  struct audit_verdict v = verdict(), w;
  char *files[] = {path}, *text = slurp(path);
  assert_int_equal(audit_check(&w, files, 1, v.last_hash), 0);
  assert_true(w.ok && w.has_wanted);
  *line_of(text, 8) = 0;
  spit(text);
  assert_true(verdict().ok);
  assert_int_equal(audit_check(&w, files, 1, v.last_hash), 0);
  assert_false(w.ok);
}

static void a_half_line_is_closed_by_a_note(void **state) {
  log_of(5);
  char *text = slurp(path), *line = line_of(text, 7);
  line[50] = 0;
  spit(text);
  expect_broken("7", "cut: half a record");
  log_of(2);
  struct audit_verdict v = verdict();
  assert_string_equal(v.first, "");
  assert_true(v.ok);
  assert_int_equal(v.n_halves, 1);
  /* Not what was there when it was closed. */
  text = slurp(path);
  line_of(text, 7)[20] ^= 1;
  spit(text);
  expect_broken("7", "altered");
}

static void a_crash_while_a_half_line_is_closed_is_closed_too(void **state) {
  log_of(5);
  char *text = slurp(path);
  strcpy(line_of(text, 7) + 30, "\n{\"seq\":7,\"time\":\"20");
  spit(text);
  log_of(1);
  struct audit_verdict v = verdict();
  assert_string_equal(v.first, "");
  assert_int_equal(v.n_halves, 1);
}

static void a_whole_line_without_its_newline_is_a_record(void **state) {
  log_of(2);
  char *text = slurp(path);
  text[strlen(text) - 1] = 0;
  spit(text);
  assert_true(verdict().ok);
  log_of(1);
  struct audit_verdict v = verdict();
  assert_true(v.ok);
  assert_int_equal(v.n_halves, 0);
  assert_int_equal(v.n_records, 5 + 3);
}

/* A start must not take a forged end for the trace of a crash. */
static void an_altered_end_is_named_after_a_new_start(void **state) {
  log_of(2);
  char *text = slurp(path);
  char *at = strstr(line_of(text, 5), "relay");
  *at = 'R';
  spit(text);
  log_of(1);
  expect_broken("5", "altered");
}

/* Nor one that is no record any more. */
static void a_garbled_end_is_named_after_a_new_start(void **state) {
  log_of(2);
  char *text = slurp(path);
  line_of(text, 5)[2] = 'S';
  spit(text);
  log_of(1);
  expect_broken("5", "altered");
}

static void times_are_told_by_the_clock_on_the_wall(void **state) {
  struct audit_record r = record("spiffe://x/agent/a");
  struct audit_text t;
  r.ended_at = 4 * SEC;
  /* Recorded at 5 s, written at 6 s, which is noon. */
  assert_true(audit_text_record(&t, &r, 6 * SEC, UINT64_C(1795262400) * SEC));
  assert_non_null(strstr(t.s, "\"time\":\"2026-11-21T11:59:59.000Z\""));
  assert_non_null(strstr(t.s, "\"begin\":\"2026-11-21T11:59:56.000Z\",\"end\":"
                              "\"2026-11-21T11:59:58.000Z\""));
}

static void what_is_no_audit_log_is_not_written_to(void **state) {
  struct audit_config c = config(1 << 20, 3);
  struct audit *a;
  spit("root:x:0:0\n");
  assert_int_equal(audit_open(&a, &c, "relay", "r"), ZTNA_EMALFORMED);
  assert_string_equal(slurp(path), "root:x:0:0\n");
}

static void links_and_devices_are_refused(void **state) {
  struct audit_config c = config(1 << 20, 3);
  struct audit *a;
  char other[128];
  snprintf(other, sizeof(other), "%s/other", dir);
  assert_int_equal(symlink(other, path), 0);
  assert_int_equal(audit_open(&a, &c, "relay", "r"), ZTNA_EPERM);
  assert_int_equal(access(other, F_OK), -1);
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(audit_open(&a, &c, "relay", "r"), ZTNA_EPERM);
  unlink(path);
  log_of(1);
  assert_int_equal(link(path, other), 0);
  assert_int_equal(audit_open(&a, &c, "relay", "r"), ZTNA_EPERM);
}

static void two_programs_do_not_write_one_file(void **state) {
  struct audit_config c = config(1 << 20, 3);
  struct audit *a = opened(1 << 20), *b;
  assert_int_equal(audit_open(&b, &c, "relay", "r"), ZTNA_EEXIST);
  audit_close(a, NULL);
}

/* --- several files --- */

static size_t names(char (*v)[128], unsigned n) {
  size_t found = 0;
  for (unsigned i = 0; i <= n; i++) {
    if (i)
      snprintf(v[found], 128, "%s.%u", path, i);
    else
      snprintf(v[found], 128, "%s", path);
    if (access(v[found], F_OK) == 0) found++;
  }
  return found;
}

static void log_in_files(int n, unsigned keep) {
  struct audit_config c = config(64 << 10, keep);
  struct audit *a;
  assert_int_equal(audit_open(&a, &c, "relay", "spiffe://x/relay/r"), 0);
  write_some(a, n);
  audit_close(a, NULL);
}

static struct audit_verdict verdict_of(char (*v)[128], size_t n) {
  struct audit_verdict out;
  char *files[8];
  for (size_t i = 0; i < n; i++) files[i] = v[i];
  assert_int_equal(audit_check(&out, files, n, NULL), 0);
  return out;
}

static void the_chain_goes_on_in_a_new_file(void **state) {
  char v[8][128];
  log_in_files(300, 5);
  size_t n = names(v, 7);
  assert_true(n >= 3);
  struct audit_verdict all = verdict_of(v, n);
  assert_string_equal(all.first, "");
  assert_true(all.ok && all.has_begin);
  assert_int_equal(all.last_seq, 300 + 2 + n);
  struct stat st;
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(stat(v[i], &st), 0);
    assert_true(st.st_size <= 64 << 10);
    assert_int_equal(st.st_mode & 07777, 0600);
  }
  /* Its first record names the last hash of the former file. */
  char wanted[128];
  struct audit_verdict former = verdict_of(v + 1, n - 1);
  snprintf(wanted, sizeof(wanted), "\"former\":\"%s\"", former.last_hash);
  assert_non_null(strstr(line_of(slurp(path), 1), wanted));
}

static void the_oldest_files_go(void **state) {
  char v[8][128];
  log_in_files(600, 2);
  assert_int_equal(names(v, 7), 3);
  struct audit_verdict all = verdict_of(v, 3);
  assert_true(all.ok);
  assert_false(all.has_begin);
}

static void a_file_left_out_is_named(void **state) {
  char v[8][128];
  log_in_files(300, 5);
  size_t n = names(v, 7);
  strcpy(v[1], v[0]);
  struct audit_verdict all = verdict_of(v + 1, n - 1);
  assert_false(all.ok);
  assert_non_null(strstr(all.first, "audit.jsonl:1: missing: records "));
}

/* Between the renaming and the new file. */
static void a_crash_in_a_change_of_files_keeps_the_chain(void **state) {
  char v[8][128], to[128];
  log_of(3);
  snprintf(to, sizeof(to), "%s.1", path);
  assert_int_equal(rename(path, to), 0);
  log_of(3);
  assert_int_equal(names(v, 7), 2);
  struct audit_verdict all = verdict_of(v, 2);
  assert_string_equal(all.first, "");
  assert_true(all.has_begin);
  assert_int_equal(all.n_records, 12);
}

/* --- no room --- */

/* The writer cannot begin: the lock of a disk that stands is played by a room
 * for a few records, all put at once. */
static void what_finds_no_room_is_counted_and_told(void **state) {
  struct audit *a = opened(2000);
  json_t *j;
  write_some(a, 2000);
  j = audit_status(a);
  int lost = (int)json_integer_value(json_object_get(j, "lost"));
  json_decref(j);
  assert_true(lost > 0);
  audit_close(a, NULL);
  struct audit_verdict v = verdict();
  assert_string_equal(v.first, "");
  assert_true(v.ok);
  assert_true(v.n_lost >= (unsigned)lost);
  assert_non_null(strstr(slurp(path), "\"event\":\"missing\",\"records\":"));
}

static json_t *status_when(struct audit *a, const char *key, bool ok) {
  for (int i = 0; i < 300; i++) {
    json_t *j = audit_status(a);
    if (json_is_true(json_object_get(j, key)) == ok) return j;
    json_decref(j);
    usleep(10000);
  }
  fail_msg("status never said so");
  return NULL;
}

static void a_full_disk_is_told_and_goes_on_when_it_has_room(void **state) {
  char hog[128];
  if (unshare(CLONE_NEWNS) < 0 ||
      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("none", dir, "tmpfs", 0, "size=256k") < 0)
    skip();
  struct audit *a = opened(64 << 10);
  snprintf(hog, sizeof(hog), "%s/hog", dir);
  int fd = open(hog, O_CREAT | O_WRONLY, 0600);
  char zeros[4096] = {0};
  while (write(fd, zeros, sizeof(zeros)) > 0)
    ;
  close(fd);
  write_some(a, 500);
  json_t *j = status_when(a, "ok", false);
  assert_string_equal(json_string_value(json_object_get(j, "error")),
                      "No space left on device");
  assert_true(json_integer_value(json_object_get(j, "lost")) > 0);
  json_decref(j);
  unlink(hog);
  json_decref(status_when(a, "ok", true));
  audit_close(a, NULL);
  struct audit_verdict v = verdict();
  umount2(dir, MNT_DETACH);
  assert_string_equal(v.first, "");
  assert_true(v.n_lost > 0);
  assert_int_equal(v.n_halves, 0);
}

static void the_queue_of_a_core_is_bounded(void **state) {
  struct audit_queue q = {0};
  struct audit_record r = record("spiffe://x/agent/a"), out;
  audit_put(&q, &r); /* off */
  assert_false(audit_next(&q, &out));
  audit_queue_init(&q, 2);
  for (int i = 0; i < 5; i++) audit_put(&q, &r);
  assert_int_equal(q.n_lost, 3);
  struct audit *a = opened(1 << 20);
  audit_drain(a, &q);
  audit_drain(a, &q);
  json_t *j = audit_status(a);
  assert_int_equal(json_integer_value(json_object_get(j, "lost")), 3);
  json_decref(j);
  audit_close(a, NULL);
  audit_queue_done(&q);
  struct audit_verdict v = verdict();
  assert_int_equal(v.n_records, 6);
  assert_int_equal(v.n_lost, 3);
}

/* More at once than there is room for, and a thread that writes all of it. */
static void a_burst_waits_in_the_core(void **state) {
  struct audit_queue q = {0};
  struct audit_record r = record("spiffe://x/agent/a");
  audit_queue_init(&q, 1000);
  for (int i = 0; i < 1000; i++) audit_put(&q, &r);
  struct audit *a = opened(64 << 10);
  audit_drain(a, &q);
  assert_true(q.n > 0);
  audit_close(a, &q);
  assert_int_equal(q.n, 0);
  audit_queue_done(&q);
  struct audit_verdict v = verdict();
  assert_int_equal(v.n_lost, 0);
  assert_int_equal(v.n_records, 1003);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void) {
  const struct CMUnitTest tests[] = {
      T(sha256_is_that_of_the_standard),
      T(every_record_is_a_line_that_follows_the_former),
      T(nobody_else_may_read_it),
      T(a_new_start_goes_on_with_the_chain),
      T(an_altered_record_is_named),
      T(a_record_altered_with_its_hash_is_named),
      T(a_missing_record_is_named),
      T(missing_records_at_the_begin_are_named),
      T(exchanged_records_are_named),
      T(what_was_waited_for_is_in_the_file),
      T(a_repeated_record_is_named),
      T(an_end_cut_off_is_found_by_a_hash_noted_earlier),
      T(a_half_line_is_closed_by_a_note),
      T(a_crash_while_a_half_line_is_closed_is_closed_too),
      T(a_whole_line_without_its_newline_is_a_record),
      T(an_altered_end_is_named_after_a_new_start),
      T(a_garbled_end_is_named_after_a_new_start),
      T(times_are_told_by_the_clock_on_the_wall),
      T(what_is_no_audit_log_is_not_written_to),
      T(links_and_devices_are_refused),
      T(two_programs_do_not_write_one_file),
      T(the_chain_goes_on_in_a_new_file),
      T(the_oldest_files_go),
      T(a_file_left_out_is_named),
      T(a_crash_in_a_change_of_files_keeps_the_chain),
      T(what_finds_no_room_is_counted_and_told),
      T(a_full_disk_is_told_and_goes_on_when_it_has_room),
      T(the_queue_of_a_core_is_bounded),
      T(a_burst_waits_in_the_core),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
