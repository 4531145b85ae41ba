/* metrics.c - see metrics.h. */
#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/reason.h"

static void print_reasons(struct sbuf *out, const char *name,
                          const uint64_t *v) {
  for (int r = 0; r < REASON_N; r++)
    sbuf_printf(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name,
                reason_name((enum reason)r), v[r]);
}

void metrics_print(struct sbuf *out, const struct metric *table,
                   const void *base) {
  for (const struct metric *m = table; m->name; m++) {
    const uint64_t *v = (const void *)((const char *)base + m->offset);
    assert(!strpbrk(m->help, "\\\n")); /* would need escapes */
    sbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                m->type == METRIC_GAUGE ? "gauge" : "counter");
    if (m->type == METRIC_REASONS)
      print_reasons(out, m->name, v);
    else
      sbuf_printf(out, "%s %" PRIu64 "\n", m->name, *v);
  }
}
