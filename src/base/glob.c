/* glob.c - see glob.h. The leftmost place for each piece leaves the most room
 * for the pieces behind it, so nothing is ever tried twice. */
#include "base/glob.h"

#include <string.h>

bool glob_matches(const char *pattern, const char *text) {
  const char *star = strchr(pattern, '*');
  if (!star) return strcmp(pattern, text) == 0;

  size_t head = (size_t)(star - pattern), left = strlen(text);
  if (left < head || memcmp(pattern, text, head) != 0) return false;
  text += head;
  left -= head;

  const char *piece = star + 1;
  while ((star = strchr(piece, '*'))) {
    size_t len = (size_t)(star - piece);
    const char *at = memmem(text, left, piece, len);
    if (!at) return false;
    left -= (size_t)(at - text) + len;
    text = at + len;
    piece = star + 1;
  }
  size_t tail = strlen(piece);
  return left >= tail && memcmp(text + left - tail, piece, tail) == 0;
}
