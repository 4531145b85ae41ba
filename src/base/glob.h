/* glob.h - patterns in which `*` stands for any run of characters, also none,
 * also slashes; every other character stands for itself. */
#ifndef ZTNA_GLOB_H
#define ZTNA_GLOB_H

#include <stdbool.h>

/* Does the whole text match? Case counts. Each piece between stars is looked
 * for once, from left to right, so time is linear whatever the pattern. */
bool glob_matches(const char *pattern, const char *text);

#endif
