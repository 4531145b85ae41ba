/* lwip_hooks.h - what lwIP calls by names given in lwipopts.h. */
#ifndef ZTNA_STACK_LWIP_HOOKS_H
#define ZTNA_STACK_LWIP_HOOKS_H

#include "lwip/ip_addr.h"

/* RFC 6528: its default can be guessed. */
u32_t stack_isn(const ip_addr_t *local, u16_t local_port,
                const ip_addr_t *remote, u16_t remote_port);

#endif
