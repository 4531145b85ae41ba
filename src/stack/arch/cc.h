/* cc.h - what lwIP asks of a compiler and a machine. */
#ifndef ZTNA_STACK_ARCH_CC_H
#define ZTNA_STACK_ARCH_CC_H

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>

/* One instruction each; lwIP's own are calls. */
#define lwip_htons(x) htons(x)
#define lwip_htonl(x) htonl(x)
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS

#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1

/* It speaks through return values only; a broken invariant is our mistake. */
#define LWIP_PLATFORM_DIAG(x) ((void)0)
#define LWIP_PLATFORM_ASSERT(message) assert(!message)

#endif
