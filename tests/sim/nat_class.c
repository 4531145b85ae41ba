/* nat_class.c - see nat_class.h. */
#include "sim/nat_class.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EI NAT_ENDPOINT_INDEPENDENT
#define AD NAT_ADDRESS_DEPENDENT
#define APD NAT_ADDRESS_PORT_DEPENDENT
#define BOX(m, f, a, ...) \
  .boxed = true,          \
  .box = {.mapping = (m), .filtering = (f), .allocation = (a), __VA_ARGS__}

/* RFC 6888 wants carriers to hairpin. */
#define CARRIER(f)                                       \
  .doubled = true, .carrier = {.mapping = EI,            \
                               .filtering = (f),         \
                               .allocation = NAT_RANDOM, \
                               .hairpin = true}

const struct nat_class nat_classes[] = {
    {.name = "public"},
    {.name = "firewall", BOX(NAT_NONE, APD, NAT_ALLOC_UNKNOWN, )},
    {.name = "full-cone", BOX(EI, EI, NAT_PRESERVING, )},
    {.name = "full-cone-np", BOX(EI, EI, NAT_RANDOM, )},
    {.name = "addr-restricted", BOX(EI, AD, NAT_PRESERVING, )},
    {.name = "addr-restricted-np", BOX(EI, AD, NAT_RANDOM, )},
    {.name = "port-restricted", BOX(EI, APD, NAT_PRESERVING, )},
    {.name = "port-restricted-np", BOX(EI, APD, NAT_RANDOM, )},
    {.name = "input-accept",
     BOX(EI, APD, NAT_PRESERVING, .input_accept = true)},
    {.name = "sym-seq", BOX(APD, APD, NAT_SEQUENTIAL, .step = 1)},
    {.name = "sym-random", BOX(APD, APD, NAT_RANDOM, )},
    {.name = "cgn", BOX(EI, APD, NAT_PRESERVING, ), CARRIER(EI)},
    {.name = "cgn-pr", BOX(EI, APD, NAT_PRESERVING, ), CARRIER(APD)},
    {.name = "short-timeouts", BOX(EI, APD, NAT_PRESERVING, .life = 10 * SEC)},
    {.name = "udp-blocked", BOX(EI, APD, NAT_PRESERVING, .blocked = true)},
    {.name = "same-lan", BOX(EI, APD, NAT_PRESERVING, ), .shared = true},
    {.name = NULL},
};

const struct nat_class *nat_class_find(const char *name) {
  for (const struct nat_class *c = nat_classes; c->name; c++)
    if (!strcmp(c->name, name)) return c;
  fprintf(stderr, "no NAT class: %s\n", name);
  abort();
}

struct nat_view nat_class_view(const struct nat_class *c) {
  /* The carrier's ports are what the outside sees. */
  enum nat_allocation a =
      c->doubled ? c->carrier.allocation : c->box.allocation;

  if (!c->boxed)
    return (struct nat_view){.mapping = NAT_NONE, .filtering = NAT_NONE};
  return (struct nat_view){.mapping = c->box.mapping,
                           .filtering = c->box.filtering,
                           .allocation = a,
                           .delta = a == NAT_SEQUENTIAL ? c->box.step : 0};
}

struct vnet_nat *nat_class_put(const struct nat_class *c, struct vnet_host *h,
                               const char *outer, uint64_t delay) {
  struct vnet_nat *carrier = NULL, *box;
  char shared[32];

  if (!c->boxed) return NULL;
  if (!c->doubled)
    box = vnet_nat(h->net, &c->box, outer, NULL, delay);
  else {
    carrier = vnet_nat(h->net, &c->carrier, outer, NULL, delay);
    snprintf(shared, sizeof(shared), "100.64.0.%d", h->number + 2);
    box = vnet_nat(h->net, &c->box, shared, carrier, 0);
  }
  vnet_behind(h, box);
  return box;
}
