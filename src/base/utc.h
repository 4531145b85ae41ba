/* utc.h - moments as people write them: RFC 3339 in UTC, whole seconds. */
#ifndef ZTNA_UTC_H
#define ZTNA_UTC_H

#include <stdint.h>

enum { UTC_STRLEN = 32 };

/* "2026-12-31T18:00:00Z", or "2026-12-31" for that day's first moment; years
 * 1970 to 9999, no other zones, no leap seconds. *to: seconds since 1970. 0 or
 * ZTNA_EMALFORMED. */
int utc_parse(int64_t *to, const char *text);
/* "2026-12-31T18:00:00Z"; returns buf. */
char *utc_print(int64_t t, char buf[UTC_STRLEN]);

#endif
