/* tool_blind.c - ztna with one check less: a relay made of it lets connectors
 * offer what their certificates do not name, as one would that was subverted.
 * Linked so that this definition comes before the library's (Makefile). */
#include "transport/identity.h"

bool identity_serves(const struct identity *id, const char *service) {
  return true;
}
