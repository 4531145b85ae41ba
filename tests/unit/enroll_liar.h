/* enroll_liar.h - a machine that asks, an enrolment service that answers, or a
 * liar in its place, and an in-memory wire of 5 ms between them. */
#ifndef ZTNA_TEST_ENROLL_LIAR_H
#define ZTNA_TEST_ENROLL_LIAR_H

#include "unit.h"

#include "base/time.h"
#include "role/enroll_client.h"
#include "sim/seeded.h"
#include "transport/cert.h"
#include "transport/h3.h"

enum { EW_NOW = 1700000000, EW_WIRE = 256, EW_BACK_DATE = 300 };
#define EW_DELAY (5 * MS)

/* A CA, and what was signed by it. */
struct ew_ca {
  struct sbuf cert, key;
  uint8_t sha256[32];
};
void ew_ca_make(struct ew_ca *ca, const char *common_name);
void ew_ca_done(struct ew_ca *ca);

struct ew_leaf {
  struct sbuf cert, key;
};
void ew_leaf_make(struct ew_leaf *l, const struct ew_ca *ca, const char *spiffe,
                  int64_t from, int64_t to);
void ew_leaf_done(struct ew_leaf *l);

struct ew_packet {
  uint64_t at;
  bool to_server;
  size_t len;
  uint8_t data[1500];
};

struct ew {
  struct seeded rnd;
  uint64_t now;
  struct ew_ca ca;      /* that the token names */
  struct ew_leaf agent; /* a certificate of it, 30 days */
  struct token token;
  /* The service. */
  struct tls *tls;
  struct quic *quic;
  struct ztna_addr addr; /* where it listens */
  bool silent;           /* packets to it vanish */
  int n_requests;
  char method[8], path[64], body[8192]; /* of the last */
  /* Answers a request, or not. */
  void (*answer)(struct ew *w, struct h3_req *r);
  const char *sign_as; /* whom ew_sign signs for */
  const struct ew_ca *sign_by;
  int64_t sign_from, sign_to;
  /* The machine. */
  struct enroll_client *client;
  struct sbuf key;          /* its */
  uint64_t n_dialled_wrong; /* packets to other addresses */
  struct ew_packet wire[EW_WIRE];
  size_t n_wire;
};

struct ew *ew_new(void);
void ew_free(struct ew *w);
/* Another one in its place, by a certificate of this CA; the CA's certificate
 * is behind it when shown. */
void ew_serve(struct ew *w, const struct ew_ca *ca, const char *spiffe,
              bool shown);
void ew_serve_until(struct ew *w, const struct ew_ca *ca, const char *spiffe,
                    int64_t from, int64_t to);

/* Asks with the token, or anew as the agent, and runs until there is a result;
 * 60 s at most, else NULL. */
struct enroll_result *ew_enroll(struct ew *w);
struct enroll_result *ew_renew(struct ew *w);
void ew_begin(struct ew *w, const struct enroll_options *o);
struct enroll_result *ew_run(struct ew *w);

/* Answers: by the rules, as sign_as says. */
void ew_sign(struct ew *w, struct h3_req *r);
/* {"certificate": cert, "ca": ca} */
void ew_reply(struct h3_req *r, const struct sbuf *cert, const struct sbuf *ca);
/* The request in the last body. */
void ew_csr(const struct ew *w, struct sbuf *csr);

#endif
