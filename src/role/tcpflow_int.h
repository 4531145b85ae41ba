/* tcpflow_int.h - what the files tcpflow*.c share. */
#ifndef ZTNA_TCPFLOW_INT_H
#define ZTNA_TCPFLOW_INT_H

#include "role/tcpflow.h"

extern const struct stream_ops tcpflow_stream_ops;

struct flow_head tcpflow_head(const struct tcpflow *f, enum flow_kind kind);
/* The other end has everything before count, and goes on from there. False:
 * that cannot be. */
bool tcpflow_begin_at(struct tcpflow *f, uint64_t count);
/* s is the stream now, with a head of so many bytes in f->head. */
void tcpflow_bind(struct tcpflow *f, struct stream *s, size_t head_len);
/* It has no stream any more; on_lost. */
void tcpflow_lose(struct tcpflow *f);
void tcpflow_reset_by_peer(struct tcpflow *f, enum reason why);
/* Bytes have left: the local side may have room again. Also when the other end
 * told that by a count, after which no acknowledgement comes. */
void tcpflow_check_room(struct tcpflow *f);

/* tcpflow_move.c */
void tcpflow_move_check(struct tcpflow *f);
void tcpflow_move_drop(struct tcpflow *f, enum reason why);

#endif
