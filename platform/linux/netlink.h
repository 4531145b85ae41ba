/* netlink.h - rtnetlink messages (RFC 3549): build one, send it, wait for the
 * kernel's answer. Private to platform/linux. */
#ifndef ZTNA_LINUX_NETLINK_H
#define ZTNA_LINUX_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

struct nl_msg {
  union {
    struct nlmsghdr h;
    uint8_t room[512]; /* far above any message built here */
  };
};

/* type: RTM_...; flags besides NLM_F_REQUEST; fixed: ifinfomsg, rtmsg, ... */
void nl_begin(struct nl_msg *m, uint16_t type, uint16_t flags,
              const void *fixed, size_t len);
void nl_put(struct nl_msg *m, uint16_t attr, const void *data, size_t len);
void nl_put_u8(struct nl_msg *m, uint16_t attr, uint8_t value);
void nl_put_u32(struct nl_msg *m, uint16_t attr, uint32_t value);
/* Returns what nl_nest_end wants. */
size_t nl_nest(struct nl_msg *m, uint16_t attr);
void nl_nest_end(struct nl_msg *m, size_t at);

/* A blocking socket, or negative errno. */
int nl_open(void);
/* Sends and waits for the acknowledgement: 0 or negative errno. */
int nl_talk(int fd, struct nl_msg *m);
/* The same, and calls back for what comes before the acknowledgement. */
int nl_ask(int fd, struct nl_msg *m,
           void (*on_msg)(void *ctx, const struct nlmsghdr *h), void *ctx);
/* nl_talk with a socket of its own. */
int nl_once(struct nl_msg *m);
/* A dump: calls back for every message. 0 or negative errno. */
int nl_dump(int fd, struct nl_msg *m,
            void (*on_msg)(void *ctx, const struct nlmsghdr *h), void *ctx);

#endif
