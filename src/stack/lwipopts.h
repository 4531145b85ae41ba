/* lwipopts.h - lwIP as src/stack uses it: its TCP alone, without its IP layer,
 * timers, pools or operating system. */
#ifndef ZTNA_STACK_LWIPOPTS_H
#define ZTNA_STACK_LWIPOPTS_H

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_RAW 0
#define LWIP_UDP 0
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_ICMP 0
#define LWIP_STATS 0

/* stack_ip.c stands in for the IP layer. */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ICMP6 0
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define IP_REASSEMBLY 0
#define IP_FRAG 0

/* malloc; limits are those of stack.h's user. */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_LINK_HLEN 0

/* The kernel next door does not reorder, so what comes out of order was lost on
 * the way and comes again: nothing received outlives the call it came with. */
#define TCP_QUEUE_OOSEQ 0
#define LWIP_TCP_SACK_OUT 0
#define LWIP_TCP_TIMESTAMPS 0
#define TCP_LISTEN_BACKLOG 0
#define LWIP_TCP_KEEPALIVE 0

/* The most that an IPv6 packet of 65535 bytes can hold: the MTU decides. */
#define TCP_MSS (65535 - 60)
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 5
#define TCP_WND (1024 * 1024)
#define TCP_SND_BUF (1024 * 1024)
#define TCP_SND_QUEUELEN 8192 /* pbufs: two for each segment of 536 bytes */
#define TCP_SNDLOWAT 1        /* unused; its default overflows */
/* In lwIP there is a pcb wherever this is looked at. An eighth: a program that
 * was stopped goes on long before its window is open wide. */
#define TCP_WND_UPDATE_THRESHOLD (TCP_WND_MAX(pcb) / 8)

/* Bytes to be sent stay where they are (no copy), segments are whole at once.
 */
#define LWIP_NETIF_TX_SINGLE_PBUF 0
#define TCP_OVERSIZE 0

/* A delayed ACK waits for 20 ms at most; a retransmission for three slow ticks,
 * so 120 ms at least. */
#define TCP_TMR_INTERVAL 20
#define LWIP_TCP_RTO_TIME 200 /* before the first measurement */
#define TCP_MSL 5000
#define TCP_MAXRTX 12
#define TCP_TTL 64

/* In: the kernel made them a moment ago. Out: made in stack_ip.c, in one go
 * with the copy. */
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_GEN_IP 0
#define CHECKSUM_GEN_TCP 0
#define LWIP_CHECKSUM_ON_COPY 0

#define LWIP_HOOK_FILENAME "stack/lwip_hooks.h"
#define LWIP_HOOK_TCP_ISN stack_isn

#endif
