/* Sums that run along: VWAP with squares and anchors, delta by size, recent prints and time. */
#ifndef FLOW_SESSION_H
#define FLOW_SESSION_H

#include "series.h"

typedef struct recent_slot {
    int64_t number; /* of its slot on the grid: time / step */
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t trade_count;
} recent_slot;

typedef struct session {
    const flow_orderflow_config *config;
    flow_vwap vwap;                      /* of the session */
    flow_vwap anchors[FLOW_ANCHORS_MAX]; /* what vwap held when each was set */
    int64_t anchor_day;                  /* the UTC day that anchor 0 was set for; -1: none */
    flow_size_class at_least[FLOW_SIZE_CLASSES_MAX]; /* prints of at least min_lots */
    int64_t *trades;                                 /* signed lots of recent prints, a ring */
    size_t trade_count;
    size_t trade_next;
    int64_t trade_buy_lots; /* of the ring */
    int64_t trade_sell_lots;
    recent_slot *slots;  /* slot s lives in entry s modulo recent_slot_count */
    int64_t slot_number; /* the newest with prints; -1: none */
} session;

bool session_config_is_valid(const flow_orderflow_config *config);

/* The configuration must outlive the session. */
bool session_init(session *s, const flow_orderflow_config *config);
void session_free(session *s);

void session_print(session *s, const print *trade, uint64_t input, int64_t stream_us);

/* Set an anchor behind an input. */
void session_anchor(session *s, size_t anchor, uint64_t input, int64_t stream_us);

/* Before this time no print sets an anchor. */
int64_t session_next_us(const session *s);

void session_read(const session *s, int64_t stream_us, flow_session *out);

void session_save(const session *s, writer *w);
bool session_load(session *s, reader *r, int64_t stream_us);

/* Move the ring of slots on to that of a time and return it. */
recent_slot *session_slot(session *s, int64_t stream_us);

/* sum += factor x lots, all not negative. */
static inline void u192_add_product(flow_u192 *sum, u128 factor, uint64_t lots)
{
    const u128 low = (u128)(uint64_t)factor * lots;
    const u128 high = (u128)(uint64_t)(factor >> 64) * lots + (uint64_t)(low >> 64);
    u128 word = (u128)sum->words[0] + (uint64_t)low;
    sum->words[0] = (uint64_t)word;
    word = (u128)sum->words[1] + (uint64_t)high + (uint64_t)(word >> 64);
    sum->words[1] = (uint64_t)word;
    sum->words[2] += (uint64_t)(high >> 64) + (uint64_t)(word >> 64);
}

#endif
