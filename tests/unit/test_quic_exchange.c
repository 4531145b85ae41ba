/* test_quic_exchange.c - certificates, CAs and lists are exchanged while
 * connections live: who may stay does not notice, who may not is told why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/exchange_world.h"

static struct pki *old_ca, *new_ca;
static struct seeded tls_rnd;

static int64_t later; /* s */
static int64_t test_time(void) { return XW_NOW + later; }

static struct tls *server_tls(struct pki *by, struct pki *also) {
  return pki_tls_trusting(by, also, ROLE_CONNECTOR, "dc");
}

static struct tls *client_tls(struct pki *by, const char *name) {
  return pki_tls_trusting(by, by == old_ca ? new_ca : old_ca, ROLE_AGENT, name);
}

/* A laptop of the old CA, a phone of the new one. */
struct scene {
  struct tls *server, *laptop, *phone;
  struct xw *w;
};

static void begin(struct scene *s) {
  s->server = server_tls(old_ca, new_ca);
  s->laptop = client_tls(old_ca, "laptop");
  s->phone = client_tls(new_ca, "phone");
  s->w = xw_new(s->server, s->laptop, s->phone);
}

/* The former is gone at once, as quic.h has it. */
static void exchange(struct quic *q, struct tls **t, struct tls *by) {
  assert_non_null(by);
  quic_set_tls(q, by);
  tls_free(*t);
  *t = by;
}

static void end(struct scene *s) {
  xw_free(s->w);
  tls_free(s->server);
  tls_free(s->laptop);
  tls_free(s->phone);
}

static void assert_ended(const struct xw_end *e, enum reason why, bool remote) {
  assert_int_equal(e->n_end, 1);
  assert_int_equal(e->end.reason, why);
  assert_int_equal(e->end.remote, remote);
  assert_true(e->end.authenticated);
}

static void another_own_certificate_disturbs_nobody(void **state) {
  struct scene s;

  begin(&s);
  xw_connect(s.w);
  exchange(s.w->server, &s.server, server_tls(new_ca, old_ca));
  exchange(s.w->clients[0], &s.laptop, client_tls(old_ca, "laptop"));
  xw_run(s.w, 100 * MS);
  for (int i = 0; i < XW_CLIENTS; i++) {
    xw_assert_no_loss(s.w, i);
    assert_int_equal(s.w->at_server[i].n_end + s.w->at_client[i].n_end, 0);
    assert_true(quic_is_outdated(s.w->at_server[i].conn));
  }
  assert_true(quic_is_outdated(s.w->at_client[0].conn));
  assert_false(quic_is_outdated(s.w->at_client[1].conn));
  end(&s);
}

static void a_new_connection_shows_the_new_certificate(void **state) {
  struct scene s;

  begin(&s);
  xw_connect(s.w);
  exchange(s.w->server, &s.server, server_tls(new_ca, old_ca));
  xw_dial(s.w, 0);
  xw_run(s.w, 200 * MS);
  assert_int_equal(s.w->at_client[0].n_ready, 2);
  assert_false(quic_is_outdated(s.w->at_server[0].conn));
  assert_memory_equal(quic_peer(s.w->at_client[0].conn)->sha256,
                      tls_identity(s.server)->sha256, 32);
  end(&s);
}

static void whose_ca_a_server_drops_ends_with_bad_certificate(void **state) {
  struct scene s;

  begin(&s);
  xw_connect(s.w);
  exchange(s.w->server, &s.server, server_tls(new_ca, NULL));
  assert_int_equal(s.w->at_server[0].n_end,
                   0); /* no callback out of the call */
  xw_run(s.w, 100 * MS);
  assert_ended(&s.w->at_server[0], REASON_BAD_CERTIFICATE, false);
  assert_ended(&s.w->at_client[0], REASON_BAD_CERTIFICATE, true);
  assert_int_equal(s.w->at_server[1].n_end, 0);
  xw_assert_no_loss(s.w, 1);
  end(&s);
}

static void whose_ca_a_client_drops_ends_with_bad_certificate(void **state) {
  struct scene s;

  begin(&s);
  xw_connect(s.w);
  exchange(s.w->clients[1], &s.phone,
           pki_tls_trusting(new_ca, NULL, ROLE_AGENT, "phone"));
  xw_run(s.w, 100 * MS);
  assert_ended(&s.w->at_client[1], REASON_BAD_CERTIFICATE, false);
  assert_ended(&s.w->at_server[1], REASON_BAD_CERTIFICATE, true);
  assert_int_equal(s.w->at_client[0].n_end, 0);
  xw_assert_no_loss(s.w, 0);
  end(&s);
}

/* The client's certificate arrives when the files are others already. */
static void an_exchange_within_the_handshake_counts(void **state) {
  for (uint64_t after = 0; after < 40 * MS; after += 5 * MS) {
    struct scene s;

    begin(&s);
    xw_dial(s.w, 0);
    xw_dial(s.w, 1);
    xw_run(s.w, after);
    exchange(s.w->server, &s.server, server_tls(new_ca, NULL));
    xw_run(s.w, 300 * MS);
    assert_null(s.w->at_server[0].conn);
    assert_int_equal(s.w->at_client[0].end.reason, REASON_BAD_CERTIFICATE);
    assert_non_null(s.w->at_server[1].conn);
    /* What was shown is what counts, not what is there by now. */
    assert_int_equal(quic_is_outdated(s.w->at_server[1].conn), after > 10 * MS);
    end(&s);
  }
}

static void
a_client_learns_within_the_handshake_that_its_server_may_not(void **state) {
  for (uint64_t after = 0; after < 40 * MS; after += 5 * MS) {
    struct scene s;

    begin(&s);
    xw_dial(s.w, 1);
    xw_run(s.w, after);
    exchange(s.w->clients[1], &s.phone,
             pki_tls_trusting(new_ca, NULL, ROLE_AGENT, "phone"));
    xw_run(s.w, 300 * MS);
    assert_null(s.w->at_client[1].conn);
    assert_int_equal(s.w->at_client[1].end.reason, REASON_BAD_CERTIFICATE);
    assert_null(s.w->at_server[1].conn);
    assert_int_equal(s.w->at_server[1].end.reason, REASON_BAD_CERTIFICATE);
    end(&s);
  }
}

static struct tls *laptop_until(int64_t seconds) {
  return pki_tls_at(old_ca, ROLE_AGENT, "laptop", NULL, XW_NOW - 60,
                    XW_NOW + seconds);
}

/* Whatever the file says when the handshake is done. */
static void
a_connection_ends_with_the_certificate_that_it_showed(void **state) {
  static const int64_t shown[] = {100, 1000}, then[] = {1000, 100};

  for (int i = 0; i < 2; i++) {
    struct scene s;
    uint64_t left;

    begin(&s);
    exchange(s.w->clients[0], &s.laptop, laptop_until(shown[i]));
    xw_dial(s.w, 0);
    xw_run(s.w, 5 * MS);
    exchange(s.w->clients[0], &s.laptop, laptop_until(then[i]));
    xw_run(s.w, 200 * MS);
    assert_non_null(s.w->at_client[0].conn);
    left = quic_expires_at(s.w->at_client[0].conn) - s.w->now;
    assert_in_range(left, (uint64_t)(shown[i] - 2) * SEC,
                    (uint64_t)(shown[i] + 2) * SEC);
    assert_true(quic_is_outdated(s.w->at_client[0].conn));
    end(&s);
  }
}

static void who_has_run_out_meanwhile_ends_with_an_exchange(void **state) {
  struct scene s;
  struct tls *same[2];

  begin(&s);
  for (int i = 0; i < 2; i++)
    same[i] = pki_tls_at(old_ca, ROLE_CONNECTOR, "dc", NULL, XW_NOW - 60,
                         XW_NOW + 86400);
  exchange(s.w->server, &s.server, same[0]);
  exchange(s.w->clients[0], &s.laptop, laptop_until(1000));
  xw_dial(s.w, 0);
  xw_run(s.w, 200 * MS);
  assert_non_null(s.w->at_server[0].conn);
  later = 1001;
  exchange(s.w->server, &s.server, same[1]);
  xw_run(s.w, 100 * MS);
  later = 0;
  assert_ended(&s.w->at_server[0], REASON_CERTIFICATE_EXPIRED, false);
  assert_ended(&s.w->at_client[0], REASON_CERTIFICATE_EXPIRED, true);
  end(&s);
}

static void a_change_of_cas_step_by_step_loses_no_packet(void **state) {
  struct scene s;

  begin(&s); /* both trust both */
  xw_connect(s.w);
  exchange(s.w->server, &s.server, server_tls(new_ca, old_ca));
  exchange(s.w->clients[0], &s.laptop, client_tls(new_ca, "laptop"));
  xw_run(s.w, 50 * MS);
  xw_assert_no_loss(s.w, 0);
  xw_dial(s.w, 0); /* who is outdated dials anew */
  xw_run(s.w, 200 * MS);
  assert_false(quic_is_outdated(s.w->at_client[0].conn));
  assert_int_equal(s.w->at_client[0].n_ready, 2);
  exchange(s.w->server, &s.server, server_tls(new_ca, NULL));
  xw_run(s.w, 50 * MS);
  assert_int_equal(s.w->at_client[0].n_end, 1); /* replaced, long ago */
  assert_non_null(s.w->at_client[0].conn);
  assert_int_equal(s.w->at_server[1].n_end, 0);
  end(&s);
}

/* --- lists --- */

static void revoke(struct sbuf *crl, struct pki *by, const struct tls *who) {
  memset(crl, 0, sizeof(*crl));
  pki_list(by, &who, 1, crl);
  assert_true(crl->len > 0);
}

static void a_client_on_a_new_list_ends_with_revoked(void **state) {
  struct scene s;
  struct sbuf crl;

  begin(&s);
  xw_connect(s.w);
  revoke(&crl, new_ca, s.phone);
  exchange(s.w->server, &s.server,
           pki_tls_listing(old_ca, new_ca, ROLE_CONNECTOR, "dc", &crl));
  xw_run(s.w, 100 * MS);
  assert_ended(&s.w->at_server[1], REASON_REVOKED, false);
  assert_ended(&s.w->at_client[1], REASON_REVOKED, true);
  assert_int_equal(s.w->at_server[0].n_end + s.w->at_client[0].n_end, 0);
  xw_assert_no_loss(s.w, 0);
  sbuf_done(&crl);
  end(&s);
}

static void a_server_on_a_new_list_ends_with_revoked(void **state) {
  struct scene s;
  struct sbuf crl;

  begin(&s);
  xw_connect(s.w);
  revoke(&crl, old_ca, s.server);
  exchange(s.w->clients[0], &s.laptop,
           pki_tls_listing(old_ca, new_ca, ROLE_AGENT, "laptop", &crl));
  xw_run(s.w, 100 * MS);
  assert_ended(&s.w->at_client[0], REASON_REVOKED, false);
  assert_ended(&s.w->at_server[0], REASON_REVOKED, true);
  assert_int_equal(s.w->at_client[1].n_end, 0);
  xw_assert_no_loss(s.w, 1);
  sbuf_done(&crl);
  end(&s);
}

/* TLS's own word for it, which other programs know as well: RFC 8446, 6.2. */
static void assert_alert(const struct xw_end *e, bool remote) {
  assert_int_equal(e->end.reason, REASON_REVOKED);
  assert_int_equal(e->end.remote, remote);
  assert_int_equal(e->end.code, 0x100 + 44);
}

static void a_listed_client_does_not_get_in_and_reads_why(void **state) {
  struct scene s;
  struct sbuf crl;

  begin(&s);
  revoke(&crl, old_ca, s.laptop);
  exchange(s.w->server, &s.server,
           pki_tls_listing(old_ca, new_ca, ROLE_CONNECTOR, "dc", &crl));
  xw_dial(s.w, 0);
  xw_dial(s.w, 1);
  xw_run(s.w, 200 * MS);
  assert_int_equal(s.w->at_server[0].n_ready, 0);
  assert_alert(&s.w->at_server[0], false);
  assert_alert(&s.w->at_client[0], true);
  assert_non_null(s.w->at_client[1].conn);
  sbuf_done(&crl);
  end(&s);
}

static void a_listed_server_is_not_spoken_to_and_reads_why(void **state) {
  struct scene s;
  struct sbuf crl;

  begin(&s);
  revoke(&crl, old_ca, s.server);
  exchange(s.w->clients[0], &s.laptop,
           pki_tls_listing(old_ca, new_ca, ROLE_AGENT, "laptop", &crl));
  xw_dial(s.w, 0);
  xw_run(s.w, 200 * MS);
  assert_int_equal(s.w->at_client[0].n_ready + s.w->at_server[0].n_ready, 0);
  assert_alert(&s.w->at_client[0], false);
  assert_alert(&s.w->at_server[0], true);
  sbuf_done(&crl);
  end(&s);
}

static void a_list_that_comes_within_the_handshake_counts(void **state) {
  struct sbuf crl;

  for (uint64_t after = 0; after < 40 * MS; after += 5 * MS) {
    struct scene s;

    begin(&s);
    revoke(&crl, new_ca, s.phone);
    xw_dial(s.w, 1);
    xw_run(s.w, after);
    exchange(s.w->server, &s.server,
             pki_tls_listing(old_ca, new_ca, ROLE_CONNECTOR, "dc", &crl));
    xw_run(s.w, 300 * MS);
    assert_null(s.w->at_server[1].conn);
    assert_int_equal(s.w->at_client[1].end.reason, REASON_REVOKED);
    sbuf_done(&crl);
    end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(another_own_certificate_disturbs_nobody),
      cmocka_unit_test(a_new_connection_shows_the_new_certificate),
      cmocka_unit_test(whose_ca_a_server_drops_ends_with_bad_certificate),
      cmocka_unit_test(whose_ca_a_client_drops_ends_with_bad_certificate),
      cmocka_unit_test(an_exchange_within_the_handshake_counts),
      cmocka_unit_test(
          a_client_learns_within_the_handshake_that_its_server_may_not),
      cmocka_unit_test(a_connection_ends_with_the_certificate_that_it_showed),
      cmocka_unit_test(who_has_run_out_meanwhile_ends_with_an_exchange),
      cmocka_unit_test(a_change_of_cas_step_by_step_loses_no_packet),
      cmocka_unit_test(a_client_on_a_new_list_ends_with_revoked),
      cmocka_unit_test(a_server_on_a_new_list_ends_with_revoked),
      cmocka_unit_test(a_listed_client_does_not_get_in_and_reads_why),
      cmocka_unit_test(a_listed_server_is_not_spoken_to_and_reads_why),
      cmocka_unit_test(a_list_that_comes_within_the_handshake_counts),
  };
  int rc;

  seeded_init(&tls_rnd, 1);
  tls_global_init(&tls_rnd.rng, test_time);
  old_ca = pki_new("example.org", XW_NOW); /* of one name, as CAs often are */
  new_ca = pki_new("example.org", XW_NOW);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  pki_free(old_ca);
  pki_free(new_ca);
  tls_global_done();
  return rc;
}
