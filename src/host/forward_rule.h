/* forward_rule.h - "127.0.0.1:8080=web-app:80": a local port and the service
 * that it stands for. */
#ifndef ZTNA_HOST_FORWARD_RULE_H
#define ZTNA_HOST_FORWARD_RULE_H

#include <ztna/addr.h>

struct forward_rule {
  struct ztna_addr at; /* without an address: 127.0.0.1 */
  bool udp;
  char service[64]; /* its id, or one of its addresses as text */
  uint16_t port;
};

/* "[ADDR:]PORT[/udp]=SERVICE:PORT"; v6 addresses in brackets. 0 or
 * ZTNA_EMALFORMED. */
int forward_rule_parse(struct forward_rule *r, const char *text);
/* For a configuration's field: NULL when it is fine, else what is wanted. */
const char *forward_rule_check(const char *text);

#endif
