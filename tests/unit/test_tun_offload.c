/* test_tun_offload.c - super-packets and unfinished checksums between this
 * kernel and a TUN device, in a network namespace of our own; and headers that
 * no kernel should write. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../platform/linux/tun_offload.h"
#include "../../platform/net.h"
#include "codec/ip.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { MTU = 1280, PORT = 9999, MOST = 65535 };

static struct tun tun, second;
static struct net *net;
static bool allowed;

static int setup(void **state) {
  static bool own;
  if (!own && unshare(CLONE_NEWNET) < 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
    return 0; /* tests skip */
  own = allowed = true;
  tun.fd = second.fd = -1;
  net = net_new();
  return net ? 0 : -1;
}

static int teardown(void **state) {
  if (!allowed) return 0;
  tun_close(&tun);
  tun_close(&second);
  net_free(net);
  net = NULL;
  return 0;
}

static void open_one(struct tun *t, const char *own, const char *network,
                     bool offload) {
  struct ztna_addr a = test_addr(own);
  struct ztna_prefix p;
  if (!allowed || !net_has(net, a.family)) skip();
  int rc = tun_open(t, "zt%d", MTU, offload);
  if (rc == ZTNA_ENOENT || rc == ZTNA_EPERM) skip();
  assert_int_equal(rc, 0);
  assert_int_equal(tun_up(t), 0);
  ztna_prefix_parse(&p, network);
  assert_int_equal(net_addr_add(net, t->ifindex, &a), 0);
  assert_int_equal(net_route_add(net, t->ifindex, &p, &a), 0);
}

static void open_up(int family, bool offload) {
  if (family == 4)
    open_one(&tun, "100.64.0.9", "10.100.0.0/24", offload);
  else
    open_one(&tun, "fd5a:64::9", "fd5a:10::/64", offload);
}

static struct ztna_addr service(int family) {
  return test_addr(family == 4 ? "10.100.0.2:9999" : "[fd5a:10::2]:9999");
}

static int socket_to(int family, int type) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr to = service(family);
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&to, &ss);
  int fd = socket(ss.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int rc = connect(fd, (struct sockaddr *)&ss, len);
  assert_true(fd >= 0 && (rc == 0 || errno == EINPROGRESS));
  return fd;
}

static bool is_ready(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) == 1;
}

static uint8_t pattern(size_t i) { return (uint8_t)(i * 7 + (i >> 8)); }

static void fill(uint8_t *data, size_t len) {
  for (size_t i = 0; i < len; i++) data[i] = pattern(i);
}

static void is_filled(const uint8_t *data, size_t len, size_t from) {
  for (size_t i = 0; i < len; i++)
    if (data[i] != pattern(from + i)) fail_msg("byte %zu", from + i);
}

/* All that the device has now, one read after the other. */
static int read_some(struct tun *t, struct tun_pkt *v) {
  if (!is_ready(t->fd, 1000)) return 0;
  return tun_read(t, v, TUN_BATCH);
}

static void parse(struct ip_pkt *p, const struct tun_pkt *k) {
  if (k->partial)
    assert_int_equal(ip_parse_partial(p, k->data, k->len), 0);
  else
    assert_int_equal(ip_parse(p, k->data, k->len), 0);
}

/* --- UDP from the kernel */

enum { SEG = 1200, SEGS = 40, TRAIN = SEG * (SEGS - 1) + 7 };

static void send_train(int family) {
  static uint8_t data[TRAIN];
  int fd = socket_to(family, SOCK_DGRAM), seg = SEG;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)) < 0) skip();
  fill(data, TRAIN);
  assert_int_equal(send(fd, data, TRAIN, 0), TRAIN);
  close(fd);
}

static void train_comes_whole(int family) {
  struct tun_pkt v[TUN_BATCH];
  struct ip_pkt p;
  open_up(family, true);
  if (!(tun.offload & TUN_USO)) skip();
  send_train(family);
  assert_int_equal(read_some(&tun, v), 1);
  assert_int_equal(v[0].gso_size, SEG);
  assert_true(v[0].partial);
  parse(&p, &v[0]);
  assert_int_equal(p.kind, IP_UDP);
  assert_int_equal(p.payload_len, TRAIN);
  is_filled(p.payload, TRAIN, 0);
}

static void a_udp_train_comes_as_one_super_packet_v4(void **state) {
  train_comes_whole(4);
}

static void a_udp_train_comes_as_one_super_packet_v6(void **state) {
  train_comes_whole(6);
}

/* The kernel cuts, and completes what it cut. */
static void without_offload_a_train_comes_cut(void **state) {
  struct tun_pkt v[TUN_BATCH];
  struct ip_pkt p;
  open_up(4, false);
  assert_int_equal(tun.offload, 0);
  send_train(4);
  assert_int_equal(read_some(&tun, v), SEGS);
  for (size_t i = 0; i < SEGS; i++) {
    assert_int_equal(v[i].gso_size, 0);
    assert_false(v[i].partial);
    parse(&p, &v[i]);
    assert_int_equal(p.payload_len, i < SEGS - 1 ? SEG : 7);
    is_filled(p.payload, p.payload_len, i * SEG);
  }
}

/* More than is read at a time: nothing is lost between two reads. */
static void many_super_packets_come_in_order(void **state) {
  static uint8_t data[TRAIN];
  struct tun_pkt v[TUN_BATCH];
  struct ip_pkt p;
  int n, got = 0, fd, seg = SEG, room = 4 << 20;
  open_up(4, true);
  if (!(tun.offload & TUN_USO)) skip();
  fd = socket_to(4, SOCK_DGRAM);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
  setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
  for (int i = 0; i < 30; i++) {
    memset(data, i, sizeof(data));
    assert_int_equal(send(fd, data, sizeof(data), 0), TRAIN);
  }
  while (got < 30 && (n = read_some(&tun, v)) > 0)
    for (int i = 0; i < n; i++, got++) {
      parse(&p, &v[i]);
      assert_int_equal(p.payload_len, TRAIN);
      assert_int_equal(p.payload[0], got);
      assert_int_equal(p.payload[TRAIN - 1], got);
    }
  assert_int_equal(got, 30);
  close(fd);
}

static int queue_len(const struct tun *t) {
  struct ifreq r = {0};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  memcpy(r.ifr_name, t->name, sizeof(t->name));
  assert_int_equal(ioctl(fd, SIOCGIFTXQLEN, &r), 0);
  close(fd);
  return r.ifr_qlen;
}

/* Lest a flood of them delays all others for long. */
static void fewer_super_packets_wait_than_packets(void **state) {
  open_up(4, false);
  int packets = queue_len(&tun);
  tun_close(&tun);
  open_up(4, true);
  if (!(tun.offload & TUN_TSO)) skip();
  assert_true(queue_len(&tun) * 4 <= packets);
}

/* --- UDP and TCP to the kernel */

static void put16(uint8_t *p, size_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}

static size_t header_of(const uint8_t *b) { return b[0] >> 4 == 4 ? 20 : 40; }

/* What a sender puts where the checksum will be: the pseudo header's sum. */
static void put_pseudo_sum(uint8_t *b, size_t len, uint8_t proto) {
  size_t at = header_of(b), from = at == 20 ? 12 : 8;
  uint8_t tail[4] = {0, proto};
  put16(tail + 2, len - at);
  uint64_t sum = ip_checksum_add(0, b + from, at - from);
  put16(b + at + (proto == IP_PROTO_TCP ? 16 : 6),
        (uint16_t)~ip_checksum_finish(ip_checksum_add(sum, tail, 4)));
}

/* A packet with an IP header for proto, from whatever ip_build_udp makes. */
static size_t put_ip(uint8_t *b, const struct ztna_addr *src,
                     const struct ztna_addr *dst, uint8_t proto, size_t len) {
  static const uint8_t nothing[1];
  ip_build_udp(b, MOST, src, dst, 0, nothing, 0);
  size_t at = header_of(b), total = at + len;
  b[at == 20 ? 9 : 6] = proto;
  put16(b + (at == 20 ? 2 : 4), at == 20 ? total : len);
  if (at == 20) {
    put16(b + 10, 0);
    put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, 20)));
  }
  return total;
}

static struct tun_pkt udp_train(uint8_t *b, const struct ztna_addr *src,
                                const struct ztna_addr *dst, size_t len,
                                uint16_t gso_size) {
  size_t at = src->family == 4 ? 20 : 40;
  fill(b + at + 8, len);
  ip_build_udp(b, MOST, src, dst, 0, b + at + 8, len);
  put_pseudo_sum(b, at + 8 + len, IP_PROTO_UDP);
  return (struct tun_pkt){.data = b,
                          .len = (uint32_t)(at + 8 + len),
                          .gso_size = gso_size,
                          .partial = true};
}

/* To a socket here: each datagram of its own. */
static void train_is_received(int family, bool train) {
  static uint8_t b[MOST], got[MOST];
  struct ztna_addr from = service(family), to = {0};
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  size_t n = 0;
  open_up(family, true);
  if (train ? !(tun.offload & TUN_USO) : !(tun.offload & TUN_CSUM)) skip();
  int fd = socket_to(family, SOCK_DGRAM);
  getsockname(fd, (struct sockaddr *)&ss, &len);
  ztna_addr_from_sockaddr(&to, (struct sockaddr *)&ss);
  size_t payload = train ? TRAIN : SEG;
  struct tun_pkt k = udp_train(b, &from, &to, payload, train ? SEG : 0);
  tun_write(&tun, &k, 1);
  assert_int_equal(tun.counters.tx_packets, 1);
  while (n < payload && is_ready(fd, 1000)) {
    ssize_t r = recv(fd, got, sizeof(got), 0);
    assert_int_equal(r, payload - n < SEG ? payload - n : SEG);
    is_filled(got, (size_t)r, n);
    n += (size_t)r;
  }
  assert_int_equal(n, payload);
  close(fd);
}

static void a_train_written_is_received_as_datagrams(void **state) {
  train_is_received(4, true);
  teardown(state);
  setup(state);
  train_is_received(6, true);
}

static void a_packet_without_checksum_is_received(void **state) {
  train_is_received(4, false);
  teardown(state);
  setup(state);
  train_is_received(6, false);
}

static void forward_on(void) {
  int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY);
  bool on = fd >= 0 && write(fd, "1", 1) == 1;
  if (fd >= 0) close(fd);
  if (!on) skip();
}

/* Through the kernel and out of a device that cannot cut: what was written in
 * one piece comes out in segments whose checksums are right. */
static void forwarded(struct tun_pkt *k, uint8_t proto, size_t head) {
  struct tun_pkt v[TUN_BATCH];
  size_t at = 0;
  int n;
  tun_write(&tun, k, 1);
  assert_int_equal(tun.counters.tx_packets, 1);
  n = read_some(&second, v);
  assert_int_equal(n, SEGS);
  for (int i = 0; i < n; i++) {
    const uint8_t *d = v[i].data;
    uint8_t pseudo[12] = {[9] = proto};
    size_t len = v[i].len - 20;
    assert_int_equal(d[9], proto);
    assert_int_equal(len, head + (i < n - 1 ? SEG : 7));
    is_filled(d + 20 + head, len - head, at);
    memcpy(pseudo, d + 12, 8);
    put16(pseudo + 10, len);
    uint64_t sum = ip_checksum_add(0, pseudo, 12);
    assert_int_equal(ip_checksum_finish(ip_checksum_add(sum, d + 20, len)), 0);
    at += len - head;
  }
}

static void a_tcp_super_packet_written_is_cut_by_the_kernel(void **state) {
  static uint8_t b[MOST];
  struct ztna_addr from = service(4), to = test_addr("10.200.0.7:80");
  uint8_t *tcp = b + 20;
  open_up(4, true);
  open_one(&second, "100.64.0.10", "10.200.0.0/24", false);
  if (!(tun.offload & TUN_TSO)) skip();
  forward_on();
  size_t len = put_ip(b, &from, &to, IP_PROTO_TCP, 20 + TRAIN);
  memset(tcp, 0, 20);
  put16(tcp, PORT);
  put16(tcp + 2, 80);
  put32(tcp + 4, 1000);
  tcp[12] = 5 << 4;
  tcp[13] = 0x10; /* ACK */
  put16(tcp + 14, 65535);
  fill(tcp + 20, TRAIN);
  put_pseudo_sum(b, len, IP_PROTO_TCP);
  struct tun_pkt k = {
      .data = b, .len = (uint32_t)len, .gso_size = SEG, .partial = true};
  forwarded(&k, IP_PROTO_TCP, 20);
}

static void a_udp_super_packet_written_is_cut_by_the_kernel(void **state) {
  static uint8_t b[MOST];
  struct ztna_addr from = service(4), to = test_addr("10.200.0.7:80");
  open_up(4, true);
  open_one(&second, "100.64.0.10", "10.200.0.0/24", false);
  if (!(tun.offload & TUN_USO)) skip();
  forward_on();
  struct tun_pkt k = udp_train(b, &from, &to, TRAIN, SEG);
  forwarded(&k, IP_PROTO_UDP, 8);
}

static void what_cannot_be_written_is_counted(void **state) {
  static uint8_t b[MOST];
  struct ztna_addr from = service(4), to = test_addr("100.64.0.9:5");
  open_up(4, false);
  struct tun_pkt k[3] = {udp_train(b, &from, &to, 2 * SEG, SEG)};
  k[1] = k[2] = k[0];
  k[1].gso_size = 0; /* partial alone */
  k[2].partial = false;
  tun_write(&tun, k, 3);
  assert_int_equal(tun.counters.tx_dropped, 3);
  assert_int_equal(tun.counters.tx_packets, 0);
}

/* --- TCP from the kernel */

/* The answer of a hand-made peer, its checksum left to the kernel. */
static void answer(const struct ip_pkt *p, const uint8_t *tcp) {
  uint8_t b[128];
  size_t at = p->version == 4 ? 20 : 40, len;
  uint8_t *t = b + at;
  uint32_t seq = (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 |
                 (uint32_t)tcp[6] << 8 | tcp[7];
  static const uint8_t options[8] = {2, 4, 1240 >> 8, 1240 & 255, 1, 3, 3, 7};
  len = put_ip(b, &p->dst, &p->src, IP_PROTO_TCP, 28);
  memset(t, 0, 28);
  put16(t, p->dst.port);
  put16(t + 2, p->src.port);
  put32(t + 4, 7000);
  put32(t + 8, seq + 1);
  t[12] = 7 << 4;
  t[13] = 0x12; /* SYN, ACK */
  put16(t + 14, 65535);
  memcpy(t + 20, options, sizeof(options));
  put_pseudo_sum(b, len, IP_PROTO_TCP);
  struct tun_pkt k = {.data = b, .len = (uint32_t)len, .partial = true};
  tun_write(&tun, &k, 1);
}

static int connect_through(int family, struct tun_pkt *v) {
  struct ip_pkt p;
  int fd = socket_to(family, SOCK_STREAM), error = 0;
  socklen_t len = sizeof(error);
  assert_int_equal(read_some(&tun, v), 1);
  parse(&p, &v[0]);
  assert_int_equal(p.kind, IP_TCP);
  assert_int_equal(p.tcp_flags & 0x3f, 2);
  answer(&p, p.payload);
  struct pollfd w = {.fd = fd, .events = POLLOUT};
  assert_int_equal(poll(&w, 1, 1000), 1);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
  assert_int_equal(error, 0);
  return fd;
}

static void data_comes_in_super_packets(int family) {
  static uint8_t data[8192];
  struct tun_pkt v[TUN_BATCH];
  size_t got = 0, largest = 0;
  int n;
  open_up(family, true);
  if (!(tun.offload & TUN_TSO)) skip();
  int fd = connect_through(family, v);
  fill(data, sizeof(data));
  assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
  while (got < sizeof(data) && (n = read_some(&tun, v)) > 0)
    for (int i = 0; i < n; i++) {
      struct ip_pkt p;
      parse(&p, &v[i]);
      size_t head = (size_t)(p.payload[12] >> 4) * 4,
             len = p.payload_len - head;
      if (len > 1240) assert_true(v[i].gso_size > 500 && v[i].partial);
      is_filled(p.payload + head, len, got);
      got += len;
      if (len > largest) largest = len;
    }
  assert_int_equal(got, sizeof(data));
  assert_true(largest > 2 * 1240);
  close(fd);
}

static void tcp_data_comes_in_super_packets_v4(void **state) {
  data_comes_in_super_packets(4);
}

static void tcp_data_comes_in_super_packets_v6(void **state) {
  data_comes_in_super_packets(6);
}

/* --- kernels that know less */

/* TUNSETOFFLOAD with any of these flags is refused from here on. */
static bool kernel_refuses(unsigned flags) {
  struct sock_filter f[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
               offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TUNSETOFFLOAD, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
               offsetof(struct seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog prog = {.len = N_OF(f), .filter = f};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

enum { NOT_HERE = 99 };

/* What a device agrees to on such a kernel; in a process of its own. */
static int offload_without(unsigned flags) {
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    struct tun t;
    if (!kernel_refuses(flags)) _exit(NOT_HERE);
    _exit(tun_open(&t, "zo%d", MTU, true) < 0 ? NOT_HERE : (int)t.offload);
  }
  assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == NOT_HERE) skip();
  return WEXITSTATUS(status);
}

static void a_kernel_that_knows_less_gives_less(void **state) {
  if (!allowed) skip();
  assert_int_equal(offload_without(0x60), TUN_CSUM | TUN_TSO);
  assert_int_equal(offload_without(TUN_F_TSO4), TUN_CSUM);
  assert_int_equal(offload_without(TUN_F_CSUM), 0);
}

/* --- headers that no kernel should write */

static struct virtio_net_hdr header(uint8_t flags, uint8_t type, uint16_t size,
                                    uint16_t start, uint16_t offset) {
  return (struct virtio_net_hdr){.flags = flags,
                                 .gso_type = type,
                                 .gso_size = size,
                                 .csum_start = start,
                                 .csum_offset = offset};
}

static void a_header_that_makes_no_sense_is_refused(void **state) {
  static uint8_t b[MOST];
  struct ztna_addr from = service(4), to = test_addr("100.64.0.9:5");
  struct tun_pkt k = udp_train(b, &from, &to, 40000, SEG), p;
  struct virtio_net_hdr bad[] = {
      header(1, 5, 0, 20, 6),        /* cut into nothing */
      header(1, 3, SEG, 20, 6),      /* fragments */
      header(1, 77, SEG, 20, 6),     /* unknown */
      header(1, 5, SEG, 20, 16),     /* another's checksum */
      header(1, 5, SEG, 28, 6),      /* another place */
      header(1, 0, 0, 40000, 40000), /* behind the end */
      header(1, 0, 0, 65535, 65535),
      header(1, 0, 0, 40027, 0), /* its last byte */
      header(0, 0x81, 0, 0, 0),
  };
  for (size_t i = 0; i < N_OF(bad); i++)
    if (tun_offload_read(&p, &bad[i], b, k.len)) fail_msg("header %zu", i);
  struct virtio_net_hdr good = header(1, 5, SEG, 20, 6);
  assert_true(tun_offload_read(&p, &good, b, k.len));
  assert_int_equal(p.gso_size, SEG);
  assert_true(p.partial);
  good = header(0, 0x81, SEG, 0, 0); /* with ECN; whole, says the header */
  assert_true(tun_offload_read(&p, &good, b, k.len));
  assert_true(p.partial);
}

/* A packet in a packet: the inner one's checksum is completed here. */
static void a_checksum_elsewhere_is_completed(void **state) {
  uint8_t b[256];
  struct ztna_addr from = test_addr("10.9.0.1:1"), to = test_addr("10.9.0.2:2");
  struct tun_pkt in = udp_train(b + 20, &from, &to, 100, 0), p;
  struct ip_pkt q;
  size_t len = put_ip(b, &from, &to, 4, in.len);
  struct virtio_net_hdr h = header(1, 0, 0, 40, 6);
  in = udp_train(b + 20, &from, &to, 100, 0);
  assert_int_equal(ip_parse(&q, b + 20, in.len), ZTNA_EMALFORMED);
  assert_true(tun_offload_read(&p, &h, b, len));
  assert_false(p.partial);
  assert_int_equal(ip_parse(&q, b + 20, in.len), 0);
}

/* Sanitizers watch: no header makes us read or write beyond its packet. */
static void no_header_reaches_beyond_its_packet(void **state) {
  static uint8_t b[MOST];
  struct ztna_addr from = service(4), to = test_addr("100.64.0.9:5");
  struct ztna_addr from6 = service(6), to6 = test_addr("[fd5a:64::9]:5");
  uint64_t seed = 77;
  for (int i = 0; i < 200000; i++) {
    bool v6 = test_random(&seed) % 2;
    size_t len = test_random(&seed) % 120;
    struct virtio_net_hdr h;
    struct tun_pkt p;
    uint8_t *copy = malloc(len ? len : 1);
    udp_train(b, v6 ? &from6 : &from, v6 ? &to6 : &to, 100, 0);
    b[v6 ? 6 : 9] = test_random(&seed) % 2 ? IP_PROTO_TCP : IP_PROTO_UDP;
    if (test_random(&seed) % 4 == 0) b[0] = (uint8_t)test_random(&seed);
    memcpy(copy, b, len);
    test_rng_fill(&seed, &h, sizeof(h));
    h.flags &= 3;
    if (test_random(&seed) % 2) h.gso_type &= 0x87;
    if (test_random(&seed) % 2) h.csum_start %= 130;
    if (test_random(&seed) % 2) h.csum_offset %= 20;
    if (tun_offload_read(&p, &h, copy, len)) {
      assert_true(!p.gso_size || p.partial);
      if (tun_offload_write(&h, &p)) assert_true(h.csum_start < len || !len);
    } else {
      p = (struct tun_pkt){copy, (uint32_t)len, 100, true};
      tun_offload_write(&h, &p);
    }
    free(copy);
  }
}

#define IN_NS(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_NS(a_udp_train_comes_as_one_super_packet_v4),
      IN_NS(a_udp_train_comes_as_one_super_packet_v6),
      IN_NS(without_offload_a_train_comes_cut),
      IN_NS(many_super_packets_come_in_order),
      IN_NS(fewer_super_packets_wait_than_packets),
      IN_NS(a_train_written_is_received_as_datagrams),
      IN_NS(a_packet_without_checksum_is_received),
      IN_NS(a_tcp_super_packet_written_is_cut_by_the_kernel),
      IN_NS(a_udp_super_packet_written_is_cut_by_the_kernel),
      IN_NS(what_cannot_be_written_is_counted),
      IN_NS(tcp_data_comes_in_super_packets_v4),
      IN_NS(tcp_data_comes_in_super_packets_v6),
      IN_NS(a_kernel_that_knows_less_gives_less),
      TEST(a_header_that_makes_no_sense_is_refused),
      TEST(a_checksum_elsewhere_is_completed),
      TEST(no_header_reaches_beyond_its_packet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
