/* config_check.h - what a table cannot say: members that must fit each other,
 * and the files that are named. Used by config.c once all values are there,
 * some of them perhaps wrong and reported already. */
#ifndef ZTNA_HOST_CONFIG_CHECK_H
#define ZTNA_HOST_CONFIG_CHECK_H

#include "host/config.h"

void config_check_relay(struct field_load *l, struct relay_config *c);
/* Also turns the short form of backends into the long one. */
void config_check_connector(struct field_load *l, struct connector_config *c);
void config_check_agent_role(struct field_load *l, struct agent_config *c);

void config_check_enroll(struct field_load *l, struct enroll_config *c);

/* cert, key and ca are named, and are read into memory; crl when it is. */
void config_read_identity(struct field_load *l, struct identity_config *c);
/* crl alone. */
void config_read_crl(struct field_load *l, struct identity_config *c);
void config_need_policy(struct field_load *l, struct relay_config *c);

#endif
