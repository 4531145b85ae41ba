/* hex.h - bytes as lower-case hexadecimal text and back. */
#ifndef ZTNA_HEX_H
#define ZTNA_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len digits and a NUL; returns text. */
char *hex_print(const void *bytes, size_t len, char *text);
/* Exactly 2 * len digits. False for anything else; NULL is fine. */
bool hex_parse(void *bytes, size_t len, const char *text);

#endif
