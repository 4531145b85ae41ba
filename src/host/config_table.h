/* config_table.h - the tables of the configuration, and what names may look
 * like; for config.c and policy_file.c. */
#ifndef ZTNA_HOST_CONFIG_TABLE_H
#define ZTNA_HOST_CONFIG_TABLE_H

#include "host/field.h"

extern const struct field config_root_fields[];   /* the whole file */
extern const struct field config_common_fields[]; /* all but the roles */
extern const struct field config_relay_fields[];
extern const struct field config_connector_fields[];
extern const struct field config_agent_fields[];
extern const struct field config_enroll_fields[];

/* "udp", "tcp", "icmp": bit i is a PROTO_ bit of policy.h. */
extern const char *const config_protocols[];

/* For struct field's check. */
const char *config_check_service(const char *text);         /* "web-app" */
const char *config_check_service_pattern(const char *text); /* "web-*" */
const char *config_check_agent_pattern(const char *text);   /* spiffe://... */
const char *config_check_agent(const char *text);           /* without * */

#endif
