/* fuzz.h - what a fuzz target gives to its driver, be that driver.c or
 * libFuzzer (clang -fsanitize=fuzzer). A property that does not hold is an
 * assert. */
#ifndef ZTNA_FUZZ_H
#define ZTNA_FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Optional: inputs from which driver.c makes others. */
struct fuzz_seed {
  const void *data;
  size_t len;
};
extern const struct fuzz_seed fuzz_seeds[];
extern const size_t n_fuzz_seeds;

#endif
