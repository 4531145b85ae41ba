/* test_state_key.c - the relay's 32 bytes: made once, kept private. */
#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"
#include "host/state_key.h"

static char base[64], dir[96], name[128], why[STATE_KEY_WHY];
static uint8_t key[STATE_KEY_LEN];

static int setup(void **state) {
  snprintf(base, sizeof(base), "/tmp/ztna-state-XXXXXX");
  if (!mkdtemp(base)) return -1;
  snprintf(dir, sizeof(dir), "%s/state", base);
  snprintf(name, sizeof(name), "%s/state.key", dir);
  return 0;
}

static int teardown(void **state) {
  unlink(name);
  rmdir(dir);
  return rmdir(base);
}

static void the_first_start_makes_a_private_key(void **state) {
  uint8_t again[STATE_KEY_LEN], zero[STATE_KEY_LEN] = {0};
  assert_int_equal(state_key_load(dir, key, why), 0);
  assert_int_equal(file_mode(dir), 0700);
  assert_int_equal(file_mode(name), 0600);
  assert_memory_not_equal(key, zero, sizeof(key));
  assert_int_equal(state_key_load(dir, again, why), 0);
  assert_memory_equal(key, again, sizeof(key));
}

static void a_key_that_others_may_read_is_refused(void **state) {
  assert_int_equal(state_key_load(dir, key, why), 0);
  assert_int_equal(chmod(name, 0640), 0);
  assert_int_equal(state_key_load(dir, key, why), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "mode 640"));
}

static void a_key_of_another_size_is_refused(void **state) {
  assert_int_equal(state_key_load(dir, key, why), 0);
  assert_int_equal(truncate(name, 31), 0);
  assert_int_equal(state_key_load(dir, key, why), ZTNA_ECONFIG);
  assert_non_null(strstr(why, "want 32 bytes, got 31"));
}

static void a_link_in_its_place_is_refused(void **state) {
  assert_int_equal(mkdir(dir, 0700), 0);
  assert_int_equal(symlink("/dev/zero", name), 0);
  assert_int_equal(state_key_load(dir, key, why), ZTNA_EIO);
}

static void a_directory_that_cannot_be_made_is_named(void **state) {
  assert_int_equal(state_key_load("/proc/no/state", key, why), ZTNA_EIO);
  assert_non_null(strstr(why, "/proc/no/state"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_WITH(the_first_start_makes_a_private_key, setup, teardown),
      TEST_WITH(a_key_that_others_may_read_is_refused, setup, teardown),
      TEST_WITH(a_key_of_another_size_is_refused, setup, teardown),
      TEST_WITH(a_link_in_its_place_is_refused, setup, teardown),
      TEST(a_directory_that_cannot_be_made_is_named),
  };
  return cmocka_run_group_tests_name("state key", tests, NULL, NULL);
}
