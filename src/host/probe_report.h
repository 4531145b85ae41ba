/* probe_report.h - between the files that write the report. */
#ifndef ZTNA_HOST_PROBE_REPORT_H
#define ZTNA_HOST_PROBE_REPORT_H

#include "host/probe_int.h"
#include "host/probe_verdict.h"

int probe_days_left(int64_t not_after);

/* Could packets to it be sent at all? Else why not. */
bool probe_was_tried(const struct probe_path *q, const char **why);
/* Something came back. */
bool probe_is_heard(const struct probe_path *q);

json_t *probe_report_path(const struct probe_path *q);
/* *own: of which class this machine's network is. */
json_t *probe_report_family(const struct probe *p, int family,
                            enum probe_class *own);

#endif
