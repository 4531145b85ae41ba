/* tokens.json: who may use a token, how often, and what happens when two do it
 * at the same time or one is killed. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/time.h"
#include "host/token_file.h"

enum { NOW = 1900000000, HOUR = 3600, DAY = 86400 };

static char dir[64], file[96];
static uint8_t secret[TOKEN_SECRET_LEN] = "sixteen bytes..";
static const uint8_t key_a[32] = "a", key_b[32] = "b";

static int set_up(void **state) {
  strcpy(dir, "/tmp/ztna-token.XXXXXX");
  if (!mkdtemp(dir)) return -1;
  snprintf(file, sizeof(file), "%s/tokens.json", dir);
  return 0;
}

static int tear_down(void **state) {
  char command[128];
  snprintf(command, sizeof(command), "rm -rf %s", dir);
  return system(command) ? -1 : 0;
}

/* --- by hand */

static const uint8_t *id_of(unsigned nr) {
  static uint8_t id[TOKEN_ID_LEN];
  memset(id, 0, sizeof(id));
  id[0] = (uint8_t)(nr >> 8);
  id[7] = (uint8_t)nr;
  return id;
}

static int add_named(unsigned nr, const char *name, int64_t now) {
  char id[2 * TOKEN_ID_LEN + 1], hash[65];
  char *services[] = {"web", "*"}, *dns[] = {"laptop.example.org"};
  struct ztna_addr ip = test_addr("192.0.2.7");
  struct token_entry e = {.id = hex_print(id_of(nr), TOKEN_ID_LEN, id),
                          .hash = hash,
                          .role = 2,
                          .name = (char *)name,
                          .services = services,
                          .n_services = 2,
                          .dns = dns,
                          .n_dns = 1,
                          .ip = &ip,
                          .n_ip = 1,
                          .lifetime = 30 * SEC,
                          .made = now,
                          .expires = now + HOUR};
  struct sbuf why = {0};
  token_hash(id_of(nr), secret, hash);
  int rc = token_file_add(dir, &e, now, &why);
  sbuf_done(&why);
  return rc;
}

static int add(unsigned nr) { return add_named(nr, "laptop-7", NOW); }

static char said[4096];

static const char *take(unsigned nr, const uint8_t *with, int64_t now,
                        const uint8_t *key) {
  struct token_grant g = {0};
  struct sbuf why = {0};
  const char *detail = NULL;
  enum reason r =
      token_file_take(dir, now, id_of(nr), with, key, &g, &detail, &why);
  snprintf(said, sizeof(said), "%s", why.len ? why.s : "");
  sbuf_done(&why);
  if (r == REASON_NONE) {
    assert_int_equal(g.role, ROLE_AGENT);
    assert_true(g.n_dns == 3 && g.n_ips == 1 && g.lifetime == 30);
  } else {
    assert_null(g.dns);
  }
  token_grant_done(&g);
  return r == REASON_NONE        ? "granted"
         : r == REASON_BAD_TOKEN ? detail
                                 : reason_name(r);
}

static struct token_list now_there(void) {
  struct token_list l;
  struct sbuf why = {0};
  if (token_file_read(dir, &l, &why) < 0) fail_msg("%s", why.s);
  sbuf_done(&why);
  return l;
}

static void write_file(const char *text) {
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  chmod(file, 0600);
}

/* --- who may */

static void a_token_gives_what_it_was_made_for(void **state) {
  struct token_grant g = {0};
  struct sbuf why = {0};
  const char *detail;
  assert_int_equal(add(1), 0);
  assert_int_equal(
      token_file_take(dir, NOW, id_of(1), secret, key_a, &g, &detail, &why),
      REASON_NONE);
  assert_int_equal(g.role, ROLE_AGENT);
  assert_string_equal(g.name, "laptop-7");
  assert_int_equal(g.n_dns, 3);
  assert_string_equal(g.dns[0], "agent.web.ztna");
  assert_string_equal(g.dns[1], "agent.*.ztna");
  assert_string_equal(g.dns[2], "laptop.example.org");
  assert_int_equal(g.n_ips, 1);
  assert_int_equal(g.lifetime, 30);
  token_grant_done(&g);
}

static void a_token_is_good_once(void **state) {
  assert_int_equal(add(1), 0);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  assert_string_equal(take(1, secret, NOW + 1, key_b), "used");
  assert_string_equal(take(1, secret, NOW + 2, key_b), "used");
}

/* The answer may have been lost on its way. */
static void the_same_key_may_ask_again_for_ten_minutes(void **state) {
  assert_int_equal(add(1), 0);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  assert_string_equal(take(1, secret, NOW + 600, key_a), "granted");
  assert_string_equal(take(1, secret, NOW + 600, key_b), "used");
  assert_string_equal(take(1, secret, NOW + 601, key_a), "used");
}

static void a_token_ends_at_its_time(void **state) {
  assert_int_equal(add(1), 0);
  assert_int_equal(add(2), 0);
  assert_string_equal(take(1, secret, NOW + HOUR - 1, key_a), "granted");
  assert_string_equal(take(2, secret, NOW + HOUR, key_a), "expired");
}

/* Nobody without the secret learns whether there is a token, or was. */
static void without_the_secret_every_token_is_unknown(void **state) {
  uint8_t wrong[TOKEN_SECRET_LEN];
  assert_int_equal(add(1), 0);
  assert_int_equal(add(2), 0);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  for (size_t i = 0; i < 8 * sizeof(wrong); i++) {
    memcpy(wrong, secret, sizeof(wrong));
    wrong[i / 8] ^= (uint8_t)(1 << i % 8);
    assert_string_equal(take(1, wrong, NOW, key_a), "unknown");
    assert_string_equal(take(2, wrong, NOW + 2 * HOUR, key_a), "unknown");
  }
  assert_string_equal(take(3, secret, NOW, key_a), "unknown");
  assert_string_equal(take(2, secret, NOW, key_a), "granted");
}

static void a_removed_token_is_unknown(void **state) {
  struct sbuf why = {0};
  assert_int_equal(add(1), 0);
  assert_int_equal(token_file_remove(dir, "0000000000000001", NOW, &why), 0);
  assert_int_equal(token_file_remove(dir, "0000000000000001", NOW, &why),
                   ZTNA_ENOENT);
  assert_string_equal(take(1, secret, NOW, key_a), "unknown");
}

/* --- the file */

static void the_file_has_no_secret_and_is_for_its_owner_alone(void **state) {
  char text[4096] = "", digits[2 * TOKEN_SECRET_LEN + 1];
  struct stat st;
  umask(0);
  assert_int_equal(add(1), 0);
  FILE *f = fopen(file, "r");
  assert_true(fread(text, 1, sizeof(text) - 1, f) > 100);
  fclose(f);
  assert_null(strstr(text, hex_print(secret, sizeof(secret), digits)));
  assert_int_equal(stat(file, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  assert_int_equal(stat(file, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
}

static void who_others_may_change_is_not_read(void **state) {
  assert_int_equal(add(1), 0);
  chmod(file, 0620);
  assert_string_equal(take(1, secret, NOW, key_a), "internal");
  assert_non_null(strstr(said, "chmod 600"));
  chmod(file, 0600);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GOOD                                                           \
  "{\"id\":\"0000000000000001\",\"hash\":\"" HASH "\",\"name\":\"a\"," \
  "\"lifetime\":\"30s\",\"made\":\"2026-01-01\",\"expires\":\"2027-01-01\""

static void a_broken_file_is_a_clear_mistake(void **state) {
  static const struct {
    const char *text, *says;
  } wrong[] = {
      {"", "tokens.json"},
      {"[]", "tokens.json:1"},
      {"{}", "tokens.json: needs \"tokens\": all of them"},
      {"{\"tokens\": [\n{\"id\": \"1\"}]}",
       "tokens.json:2: tokens[0].id: want"},
      {"{\"tokens\": [" GOOD ", \"role\": \"admin\"}]}", "role: want"},
      {"{\"tokens\": [" GOOD ", \"role\": \"enroll\"}]}", "role: want"},
      {"{\"tokens\": [" GOOD ", \"role\": \"agent\", \"used\": "
       "\"2026-02-01\"}]}",
       "want both"},
      {"{\"tokens\": [" GOOD ", \"role\": \"connector\"}]}", "name a service"},
      {"{\"tokens\": [" GOOD ", \"role\": \"relay\"}]}", "a relay needs"},
      {"{\"tokens\": [" GOOD ", \"role\": \"agent\"}," GOOD
       ", \"role\": \"agent\"}]}",
       "want each id once"},
      {"{\"tokens\": [" GOOD ", \"role\": \"agent\", \"name\": \"b\"}]}",
       "tokens.json:1"},
      {"{\"tokens\": [" GOOD ", \"role\": \"agent\", \"dns\": [\"a.web.ztna\"]"
       "}]}",
       "want a host name"},
  };
  for (size_t i = 0; i < N_OF(wrong); i++) {
    struct stat before, after;
    write_file(wrong[i].text);
    stat(file, &before);
    assert_string_equal(take(1, secret, NOW, key_a), "internal");
    if (!strstr(said, wrong[i].says)) fail_msg("%zu: %s", i, said);
    assert_true(add(2) < 0); /* and stays as it is */
    stat(file, &after);
    assert_true(before.st_ino == after.st_ino);
  }
  write_file("{\"tokens\": [" GOOD ", \"role\": \"agent\"}]}");
  assert_string_equal(take(1, secret, NOW, key_a), "unknown");
}

static void what_is_long_past_is_left_out(void **state) {
  assert_int_equal(add(1), 0);
  assert_int_equal(add(2), 0);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  assert_int_equal(add_named(3, "x", NOW + 30 * DAY), 0);
  struct token_list l = now_there();
  assert_int_equal(l.n_tokens, 3);
  token_list_done(&l);
  assert_int_equal(add_named(4, "x", NOW + 30 * DAY + 1), 0);
  l = now_there();
  assert_int_equal(l.n_tokens, 3); /* 2 ended an hour after 1 was used */
  token_list_done(&l);
  assert_int_equal(add_named(5, "x", NOW + 31 * DAY), 0);
  l = now_there();
  assert_int_equal(l.n_tokens, 3);
  assert_string_equal(l.tokens[0].id, "0000000000000003");
  token_list_done(&l);
}

static void there_are_only_so_many(void **state) {
  struct token_list l = {.n_tokens = TOKEN_FILE_TOKENS};
  struct token_entry *v = calloc(TOKEN_FILE_TOKENS, sizeof(*v));
  static char ids[TOKEN_FILE_TOKENS][17];
  struct sbuf text = {0};
  for (unsigned i = 0; i < TOKEN_FILE_TOKENS; i++)
    v[i] = (struct token_entry){
        .id = hex_print(id_of(i + 1), TOKEN_ID_LEN, ids[i]),
        .hash = HASH,
        .role = 2,
        .name = "x",
        .lifetime = SEC,
        .made = NOW,
        .expires = NOW + HOUR};
  l.tokens = v;
  assert_int_equal(token_list_print(&l, &text), 0);
  write_file(text.s);
  sbuf_done(&text);
  free(v);
  assert_int_equal(add(2000), ZTNA_EFULL);
  assert_int_equal(add(1), ZTNA_EEXIST);
  assert_int_equal(add_named(2000, "x", NOW + 32 * DAY), 0);
}

/* --- two at once, and half done */

/* What a service that was killed leaves behind. */
static void what_a_killed_one_left_does_no_harm(void **state) {
  char half[128];
  assert_int_equal(add(1), 0);
  snprintf(half, sizeof(half), "%s.new", file);
  FILE *f = fopen(half, "w");
  fputs("{\"tokens\": [", f);
  fclose(f);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
  assert_string_equal(take(1, secret, NOW, key_b), "used");
  assert_int_equal(access(half, F_OK), -1);
}

static void one_that_holds_the_lock_for_ever_is_not_waited_for(void **state) {
  char name[128];
  assert_int_equal(add(1), 0);
  snprintf(name, sizeof(name), "%s/tokens.lock", dir);
  int fd = open(name, O_RDWR);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_string_equal(take(1, secret, NOW, key_a), "internal");
  assert_non_null(strstr(said, "another process"));
  close(fd);
  assert_string_equal(take(1, secret, NOW, key_a), "granted");
}

/* Exit code of a process that takes the token with a key of its own. */
static pid_t taker(unsigned nr, int n, const int go[2]) {
  uint8_t key[32] = {(uint8_t)n};
  char c;
  pid_t pid = fork();
  if (pid) return pid;
  close(go[1]); /* the last one to close it starts all */
  if (read(go[0], &c, 1) < 0) _exit(9);
  const char *r = take(nr, secret, NOW, key);
  _exit(!strcmp(r, "granted") ? 1 : !strcmp(r, "used") ? 2 : 3);
}

static void of_many_at_once_one_has_it(void **state) {
  enum { ROUNDS = 10, TAKERS = 6 };
  for (unsigned i = 1; i <= ROUNDS; i++) {
    int go[2], n_granted = 0, n_used = 0;
    pid_t pids[TAKERS];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(add(i), 0);
    for (int k = 0; k < TAKERS; k++) pids[k] = taker(i, k, go);
    close(go[0]);
    close(go[1]); /* all at once */
    for (int k = 0; k < TAKERS; k++) {
      int how;
      assert_int_equal(waitpid(pids[k], &how, 0), pids[k]);
      n_granted += WIFEXITED(how) && WEXITSTATUS(how) == 1;
      n_used += WIFEXITED(how) && WEXITSTATUS(how) == 2;
    }
    assert_int_equal(n_granted, 1);
    assert_int_equal(n_used, TAKERS - 1);
  }
}

/* Whenever it dies, the token is unused or used by its key, and the file can be
 * read. */
static void a_kill_at_any_moment_leaves_a_whole_file(void **state) {
  uint64_t random = 7;
  int n_used = 0, n_unused = 0;
  for (unsigned i = 1; i <= 60; i++) {
    int go[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(add(i), 0);
    pid_t pid = taker(i, 1, go);
    close(go[0]);
    close(go[1]);
    usleep((useconds_t)(test_random(&random) % 3000));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct token_list l = now_there();
    assert_int_equal(l.n_tokens, i);
    const struct token_entry *e = &l.tokens[i - 1];
    if (e->used)
      n_used++;
    else
      n_unused++;
    const char *other = e->used ? "used" : "granted";
    assert_string_equal(take(i, secret, NOW, key_b), other);
    token_list_done(&l);
  }
  print_message("killed: used %d, unused %d\n", n_used, n_unused);
}

/* --- root and the service's user */

static uid_t owner_of(const char *name) {
  char path[128];
  struct stat st;
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  return stat(path, &st) == 0 ? st.st_uid : (uid_t)-1;
}

static void what_root_makes_is_the_directorys_owners(void **state) {
  if (geteuid() != 0) skip();
  assert_int_equal(chown(dir, 1, 1), 0);
  assert_int_equal(add(1), 0);
  assert_int_equal(owner_of("tokens.lock"), 1);
  assert_int_equal(owner_of("tokens.json"), 1);
}

static void root_gives_away_no_file_that_is_elsewhere_too(void **state) {
  char other[128], lock[128];
  if (geteuid() != 0) skip();
  snprintf(other, sizeof(other), "%s/roots", dir);
  snprintf(lock, sizeof(lock), "%s/tokens.lock", dir);
  close(open(other, O_CREAT | O_WRONLY, 0600));
  assert_int_equal(link(other, lock), 0);
  assert_int_equal(chown(dir, 1, 1), 0);
  assert_int_equal(add(1), 0);
  assert_int_equal(owner_of("roots"), 0);
}

int main(void) {
#define T(f) TEST_WITH(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_token_gives_what_it_was_made_for),
      T(a_token_is_good_once),
      T(the_same_key_may_ask_again_for_ten_minutes),
      T(a_token_ends_at_its_time),
      T(without_the_secret_every_token_is_unknown),
      T(a_removed_token_is_unknown),
      T(the_file_has_no_secret_and_is_for_its_owner_alone),
      T(who_others_may_change_is_not_read),
      T(a_broken_file_is_a_clear_mistake),
      T(what_is_long_past_is_left_out),
      T(there_are_only_so_many),
      T(what_a_killed_one_left_does_no_harm),
      T(one_that_holds_the_lock_for_ever_is_not_waited_for),
      T(of_many_at_once_one_has_it),
      T(a_kill_at_any_moment_leaves_a_whole_file),
      T(what_root_makes_is_the_directorys_owners),
      T(root_gives_away_no_file_that_is_elsewhere_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
