/* driver.c - runs a fuzz target where libFuzzer is not at hand:
 *
 *   fuzz_x [--seconds N] [--seed N] [--save FILE] [INPUT...]
 *
 * Runs the given inputs, or makes them for so many seconds (2) by changing the
 * target's seeds at random. Each input lies in an allocation of exactly its
 * size, so that a sanitizer sees a byte too far. When the target dies, the seed
 * and the last input go to stderr in hex, and with --save into a file that can
 * be given as INPUT. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 16, GROWN_MAX = 4096, MOST_CHANGES = 6 };

struct fuzz_seed {
  const void *data;
  size_t len;
};
extern const struct fuzz_seed fuzz_seeds[] __attribute__((weak));
extern const size_t n_fuzz_seeds __attribute__((weak));
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));
const char *__ubsan_default_options(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
  unsigned seconds;
  uint64_t seed;
  const char *save;
} options = {.seconds = 2};

static uint64_t random_state, n_inputs;
static const uint8_t *last_input; /* NULL between inputs */
static size_t last_len;

/* --- death: only what a signal handler may call */

static void say(const char *s) {
  if (write(2, s, strlen(s)) < 0) return;
}

static void say_number(uint64_t n) {
  char text[24], *p = text + sizeof(text) - 1;
  *p = 0;
  do *--p = (char)('0' + n % 10);
  while (n /= 10);
  say(p);
}

static void say_hex(const uint8_t *b, size_t len) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    char hex[3] = {digits[b[i] >> 4], digits[b[i] & 15], 0};
    say(hex);
  }
}

static void save_input(void) {
  int fd = open(options.save, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, last_input, last_len) != (ssize_t)last_len)
    say("fuzz: could not save the input\n");
  if (fd >= 0) close(fd);
}

static void on_death(void) {
  static bool told;
  if (told || !last_input) return;
  told = true;
  say("fuzz: died at input ");
  say_number(n_inputs);
  say(" of seed ");
  say_number(options.seed);
  say(", ");
  say_number(last_len);
  say(" bytes:\n");
  say_hex(last_input, last_len);
  say("\n");
  if (options.save) save_input();
}

/* gcc's UBSan has no such callback when ASan is there too. */
const char *__ubsan_default_options(void) {
  return "abort_on_error=1:print_stacktrace=1";
}

static void on_signal(int sig) {
  on_death();
  signal(sig, SIG_DFL);
  raise(sig);
}

/* A sanitizer wants the hardware's signals for its own report and then calls
 * us. SIGTERM: somebody's patience with an endless loop is over. */
static void watch_for_death(void) {
  static const int always[] = {SIGABRT, SIGTERM},
                   hardware[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
    signal(always[i], on_signal);
  if (__sanitizer_set_death_callback) {
    __sanitizer_set_death_callback(on_death);
    return;
  }
  for (size_t i = 0; i < sizeof(hardware) / sizeof(*hardware); i++)
    signal(hardware[i], on_signal);
}

/* --- inputs */

static void run(const uint8_t *data, size_t len) {
  uint8_t *copy = malloc(len); /* malloc(0): an address no byte of which may be
                                  read */
  if (len) memcpy(copy, data, len);
  last_len = len;
  last_input = copy;
  n_inputs++;
  LLVMFuzzerTestOneInput(copy, len);
  last_input = NULL;
  free(copy);
}

static int run_file(const char *path) {
  static uint8_t buf[INPUT_MAX];
  FILE *f = fopen(path, "rb");
  if (!f) {
    fprintf(stderr, "fuzz: %s: %s\n", path, strerror(errno));
    return 1;
  }
  size_t len = fread(buf, 1, sizeof(buf), f);
  fclose(f);
  run(buf, len);
  return 0;
}

/* --- chance: xorshift64*, so that a seed replays everywhere */

static uint64_t chance(uint64_t n) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return n ? (random_state * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n : 0;
}

static void fill_at_random(uint8_t *b, size_t len) {
  for (size_t i = 0; i < len; i++) b[i] = (uint8_t)chance(256);
}

/* --- changes; each returns the new length */

struct input {
  uint8_t b[INPUT_MAX];
  size_t len;
};

static void flip_bit(struct input *in) {
  if (in->len) in->b[chance(in->len)] ^= (uint8_t)(1u << chance(8));
}

static void change_byte(struct input *in) {
  if (in->len) in->b[chance(in->len)] = (uint8_t)chance(256);
}

/* Numbers at which programs go wrong, and the input's own length. */
static void put_interesting(struct input *in) {
  static const uint32_t numbers[] = {
      0,          1,          7,          8,      15,     16,      20,
      31,         32,         40,         63,     64,     127,     128,
      255,        256,        511,        512,    1023,   1024,    1280,
      1500,       0x7fff,     0x8000,     0xfffe, 0xffff, 0x10000, 0x7fffffff,
      0x80000000, 0xfffffffe, 0xffffffff,
  };
  size_t n = sizeof(numbers) / sizeof(*numbers), width = 1u << chance(3);
  uint32_t v = numbers[chance(n)];
  if (chance(4) == 0) v = (uint32_t)(in->len - chance(48) + chance(3));
  if (in->len < width) return;
  uint8_t *at = in->b + chance(in->len - width + 1);
  bool little = chance(4) == 0;
  for (size_t i = 0; i < width; i++)
    at[little ? i : width - 1 - i] = (uint8_t)(v >> (8 * i));
}

static void truncate_it(struct input *in) { in->len = chance(in->len + 1); }

static void append(struct input *in) {
  size_t n = chance(chance(8) ? 16 : 600);
  if (in->len + n > GROWN_MAX) return;
  fill_at_random(in->b + in->len, n);
  in->len += n;
}

static void cut_out(struct input *in) {
  size_t from = chance(in->len + 1), n = chance(in->len - from + 1);
  memmove(in->b + from, in->b + from + n, in->len - from - n);
  in->len -= n;
}

static void repeat(struct input *in) {
  size_t from = chance(in->len + 1), n = chance(in->len - from + 1);
  if (in->len + n > GROWN_MAX) return;
  memmove(in->b + from + n, in->b + from, in->len - from);
  in->len += n;
}

static bool has_seeds(void) { return &n_fuzz_seeds && n_fuzz_seeds; }

/* The head of this and the tail of a seed, both from anywhere. */
static void cross_over(struct input *in) {
  if (!has_seeds()) return;
  const struct fuzz_seed *s = &fuzz_seeds[chance(n_fuzz_seeds)];
  size_t head = chance(in->len + 1), from = chance(s->len + 1),
         n = s->len - from;
  if (head + n > GROWN_MAX) return;
  memcpy(in->b + head, (const uint8_t *)s->data + from, n);
  in->len = head + n;
}

static void change(struct input *in) {
  static void (*const changes[])(struct input *) = {
      flip_bit,    flip_bit, change_byte, change_byte, put_interesting,
      truncate_it, append,   cut_out,     repeat,      cross_over,
  };
  changes[chance(sizeof(changes) / sizeof(*changes))](in);
}

static void begin_with(struct input *in) {
  if (has_seeds() && chance(50)) {
    const struct fuzz_seed *s = &fuzz_seeds[chance(n_fuzz_seeds)];
    in->len = s->len < INPUT_MAX ? s->len : INPUT_MAX;
    memcpy(in->b, s->data, in->len);
  } else {
    in->len = chance(chance(2) ? 64 : 1600);
    fill_at_random(in->b, in->len);
  }
}

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_at_random(void) {
  static struct input in;
  double end = seconds_now() + options.seconds;
  run(NULL, 0);
  for (size_t i = 0; has_seeds() && i < n_fuzz_seeds; i++)
    run(fuzz_seeds[i].data, fuzz_seeds[i].len);
  while (n_inputs % 64 || seconds_now() < end) {
    begin_with(&in);
    for (uint64_t n = 1 + chance(MOST_CHANGES); n; n--) change(&in);
    run(in.b, in.len);
  }
}

/* --- main */

static uint64_t number(const char *name, const char *text) {
  char *end;
  unsigned long long v = text ? strtoull(text, &end, 10) : 0;
  if (!text || !*text || *end || *text == '-') {
    fprintf(stderr, "fuzz: %s wants a number\n", name);
    exit(2);
  }
  return v;
}

int main(int argc, char **argv) {
  int i = 1, rc = 0;
  options.seed = (uint64_t)time(NULL);
  for (; i < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
    if (strcmp(argv[i], "--seconds") == 0)
      options.seconds = (unsigned)number(argv[i], argv[i + 1]);
    else if (strcmp(argv[i], "--seed") == 0)
      options.seed = number(argv[i], argv[i + 1]);
    else if (strcmp(argv[i], "--save") == 0 && argv[i + 1])
      options.save = argv[i + 1];
    else {
      fprintf(stderr,
              "usage: %s [--seconds N] [--seed N] [--save FILE]"
              " [INPUT...]\n",
              argv[0]);
      return 2;
    }
  }
  random_state = options.seed ^ UINT64_C(0x9e3779b97f4a7c15);
  if (!random_state) random_state = 1;
  watch_for_death();
  if (i == argc) run_at_random();
  for (; i < argc; i++) rc |= run_file(argv[i]);
  printf("%llu inputs, seed %llu\n", (unsigned long long)n_inputs,
         (unsigned long long)options.seed);
  return rc;
}
