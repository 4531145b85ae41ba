/* netlink.c - one request, one answer. */
#include "netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_ROOM = 32768 }; /* what kernels use for dumps at most */

/* --- building */

void nl_begin(struct nl_msg *m, uint16_t type, uint16_t flags,
              const void *fixed, size_t len) {
  memset(m, 0, sizeof(*m));
  m->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
  m->h.nlmsg_type = type;
  m->h.nlmsg_flags = NLM_F_REQUEST | flags;
  memcpy(NLMSG_DATA(&m->h), fixed, len);
}

void nl_put(struct nl_msg *m, uint16_t attr, const void *data, size_t len) {
  size_t at = NLMSG_ALIGN(m->h.nlmsg_len);
  struct rtattr *a = (struct rtattr *)(m->room + at);
  assert(at + RTA_SPACE(len) <= sizeof(m->room));
  a->rta_type = attr;
  a->rta_len = (uint16_t)RTA_LENGTH(len);
  if (len) memcpy(RTA_DATA(a), data, len);
  m->h.nlmsg_len = (uint32_t)(at + RTA_SPACE(len));
}

void nl_put_u8(struct nl_msg *m, uint16_t attr, uint8_t value) {
  nl_put(m, attr, &value, sizeof(value));
}

void nl_put_u32(struct nl_msg *m, uint16_t attr, uint32_t value) {
  nl_put(m, attr, &value, sizeof(value));
}

size_t nl_nest(struct nl_msg *m, uint16_t attr) {
  size_t at = NLMSG_ALIGN(m->h.nlmsg_len);
  nl_put(m, attr | NLA_F_NESTED, NULL, 0);
  return at;
}

void nl_nest_end(struct nl_msg *m, size_t at) {
  struct rtattr *a = (struct rtattr *)(m->room + at);
  a->rta_len = (uint16_t)(m->h.nlmsg_len - at);
}

/* --- talking */

int nl_open(void) {
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&self, sizeof(self)) == 0) return fd;
  int err = errno;
  close(fd);
  return -err;
}

/* From the kernel only: other processes may send to a netlink socket, too. */
static ssize_t receive(int fd, void *room, size_t size) {
  struct sockaddr_nl from;
  ssize_t n;
  do {
    socklen_t len = sizeof(from);
    n = recvfrom(fd, room, size, MSG_TRUNC, (struct sockaddr *)&from, &len);
  } while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid != 0));
  if (n < 0) return -errno;
  return (size_t)n > size ? -EMSGSIZE : n;
}

static int send_request(int fd, struct nl_msg *m) {
  static uint32_t seq;
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  m->h.nlmsg_seq = ++seq;
  ssize_t n = sendto(fd, m, m->h.nlmsg_len, 0, (struct sockaddr *)&kernel,
                     sizeof(kernel));
  return n < 0 ? -errno : 0;
}

/* Reads answers to seq until the last one. */
static int read_answers(int fd, uint32_t seq,
                        void (*on_msg)(void *, const struct nlmsghdr *),
                        void *ctx) {
  union {
    struct nlmsghdr align;
    uint8_t room[ANSWER_ROOM];
  } answer;
  for (;;) {
    ssize_t n = receive(fd, &answer, sizeof(answer));
    if (n < 0) return (int)n;
    int left = (int)n;
    for (const struct nlmsghdr *h = &answer.align; NLMSG_OK(h, left);
         h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_seq != seq) continue;
      if (h->nlmsg_type == NLMSG_DONE) return 0;
      if (h->nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
      if (on_msg) on_msg(ctx, h);
    }
  }
}

int nl_ask(int fd, struct nl_msg *m,
           void (*on_msg)(void *ctx, const struct nlmsghdr *h), void *ctx) {
  m->h.nlmsg_flags |= NLM_F_ACK;
  int rc = send_request(fd, m);
  return rc < 0 ? rc : read_answers(fd, m->h.nlmsg_seq, on_msg, ctx);
}

int nl_talk(int fd, struct nl_msg *m) { return nl_ask(fd, m, NULL, NULL); }

int nl_once(struct nl_msg *m) {
  int fd = nl_open();
  if (fd < 0) return fd;
  int rc = nl_talk(fd, m);
  close(fd);
  return rc;
}

int nl_dump(int fd, struct nl_msg *m,
            void (*on_msg)(void *ctx, const struct nlmsghdr *h), void *ctx) {
  m->h.nlmsg_flags |= NLM_F_DUMP;
  int rc = send_request(fd, m);
  return rc < 0 ? rc : read_answers(fd, m->h.nlmsg_seq, on_msg, ctx);
}
