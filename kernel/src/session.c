/* Session sums, one print at a time. */
#include <stdlib.h> /* calloc, free */

#include "session.h"

#define DAY_US ((int64_t)86400 * 1000000)

static bool is_flag(int64_t value) { return value == 0 || value == 1; }

bool session_config_is_valid(const flow_orderflow_config *c)
{
    if (!is_flag(c->vwap_on) || !is_flag(c->anchor_on_utc_day) ||
        (c->anchor_on_utc_day && !c->vwap_on) || c->size_class_count < 0 ||
        c->size_class_count > FLOW_SIZE_CLASSES_MAX || c->recent_trades_count < 0 ||
        c->recent_trades_count > FLOW_RECENT_TRADES_MAX || c->recent_slot_us < 0 ||
        c->recent_slot_us > FLOW_TS_US_MAX)
        return false;
    for (int64_t i = 0, before = 0; i < FLOW_SIZE_CLASSES_MAX; i++) {
        const int64_t lots = c->size_class_lots[i];
        if (i < c->size_class_count ? lots <= before || lots > FLOW_QTY_LOTS_MAX : lots != 0)
            return false;
        before = lots;
    }
    return c->recent_slot_us == 0 ||
           (c->recent_slot_count >= 1 && c->recent_slot_count <= FLOW_RECENT_SLOTS_MAX);
}

bool session_init(session *s, const flow_orderflow_config *c)
{
    *s = (session){
        .config = c,
        .vwap = {.first_input = c->vwap_on ? 1 : 0},
        .anchor_day = -1,
        .slot_number = -1,
    };
    for (int64_t i = 0; i < c->size_class_count; i++)
        s->at_least[i].min_lots = c->size_class_lots[i];
    bool ok = true;
    if (c->recent_trades_count > 0) {
        s->trades = calloc((size_t)c->recent_trades_count, sizeof *s->trades);
        ok = s->trades != NULL;
    }
    if (c->recent_slot_us > 0) {
        s->slots = calloc((size_t)c->recent_slot_count, sizeof *s->slots);
        ok = ok && s->slots != NULL;
    }
    if (!ok) session_free(s);
    return ok;
}

void session_free(session *s)
{
    free(s->trades);
    free(s->slots);
    *s = (session){0};
}

void session_anchor(session *s, size_t anchor, uint64_t input, int64_t stream_us)
{
    s->anchors[anchor] = s->vwap;
    s->anchors[anchor].first_input = input + 1;
    s->anchors[anchor].ts_us = stream_us;
}

int64_t session_next_us(const session *s)
{
    return s->config->anchor_on_utc_day ? (s->anchor_day + 1) * DAY_US : NEVER_US;
}

recent_slot *session_slot(session *s, int64_t stream_us)
{
    const int64_t number = stream_us / s->config->recent_slot_us;
    recent_slot *slot = &s->slots[number % s->config->recent_slot_count];
    if (slot->trade_count == 0 || slot->number != number) *slot = (recent_slot){.number = number};
    s->slot_number = number;
    return slot;
}

static void push_trade(session *s, int64_t signed_lots)
{
    const size_t capacity = (size_t)s->config->recent_trades_count;
    if (s->trade_count == capacity) {
        const int64_t oldest = s->trades[s->trade_next];
        *(oldest > 0 ? &s->trade_buy_lots : &s->trade_sell_lots) -= oldest > 0 ? oldest : -oldest;
    } else {
        s->trade_count++;
    }
    *(signed_lots > 0 ? &s->trade_buy_lots : &s->trade_sell_lots) +=
        signed_lots > 0 ? signed_lots : -signed_lots;
    s->trades[s->trade_next] = signed_lots;
    s->trade_next = s->trade_next + 1 == capacity ? 0 : s->trade_next + 1;
}

void session_print(session *s, const print *trade, uint64_t input, int64_t stream_us)
{
    const flow_orderflow_config *c = s->config;
    const int64_t qty = trade->qty_lots;
    const bool buyer = trade->side > 0;
    if (c->vwap_on) {
        if (stream_us >= session_next_us(s)) {
            session_anchor(s, 0, input - 1, stream_us);
            s->anchor_day = stream_us / DAY_US;
        }
        const u128 price = (u128)(uint64_t)trade->price_ticks;
        if (s->vwap.lots == 0) s->vwap.ts_us = stream_us;
        s->vwap.lots += qty;
        s->vwap.notional_ticklots =
            i128_pair(i128_of(s->vwap.notional_ticklots) + (i128)(price * (uint64_t)qty));
        u192_add_product(&s->vwap.square_ticklots, price * price, (uint64_t)qty);
    }
    for (int64_t i = 0; i < c->size_class_count && qty >= c->size_class_lots[i]; i++) {
        *(buyer ? &s->at_least[i].buy_lots : &s->at_least[i].sell_lots) += qty;
        s->at_least[i].trade_count++;
    }
    if (c->recent_trades_count > 0) push_trade(s, buyer ? qty : -qty);
    if (c->recent_slot_us > 0) {
        recent_slot *slot = session_slot(s, stream_us);
        *(buyer ? &slot->buy_lots : &slot->sell_lots) += qty;
        slot->trade_count++;
    }
}

static flow_u192 u192_minus(flow_u192 a, flow_u192 b)
{
    flow_u192 out;
    uint64_t borrow = 0;
    for (int i = 0; i < 3; i++) {
        const u128 word = (u128)a.words[i] - b.words[i] - borrow;
        out.words[i] = (uint64_t)word;
        borrow = (uint64_t)(word >> 64) & 1;
    }
    return out;
}

static flow_vwap vwap_since(const flow_vwap *now, const flow_vwap *then)
{
    if (then->first_input == 0) return (flow_vwap){0};
    return (flow_vwap){
        .first_input = then->first_input,
        .ts_us = then->ts_us,
        .lots = now->lots - then->lots,
        .notional_ticklots =
            i128_pair(i128_of(now->notional_ticklots) - i128_of(then->notional_ticklots)),
        .square_ticklots = u192_minus(now->square_ticklots, then->square_ticklots),
    };
}

/* The totals of class 0 come from the caller, who has those of all prints. */
static void read_size_classes(const session *s, flow_session *out)
{
    const int64_t count = s->config->size_class_count;
    for (int64_t i = 0; i < count; i++) {
        const flow_size_class *from = &s->at_least[i];
        const flow_size_class *next = i + 1 < count ? &s->at_least[i + 1] : NULL;
        out->size_classes[i + 1] = (flow_size_class){
            .min_lots = from->min_lots,
            .buy_lots = from->buy_lots - (next ? next->buy_lots : 0),
            .sell_lots = from->sell_lots - (next ? next->sell_lots : 0),
            .trade_count = from->trade_count - (next ? next->trade_count : 0),
        };
    }
}

void session_read(const session *s, int64_t stream_us, flow_session *out)
{
    const flow_orderflow_config *c = s->config;
    out->vwap = s->vwap;
    for (size_t i = 0; i < FLOW_ANCHORS_MAX; i++)
        out->anchors[i] = vwap_since(&s->vwap, &s->anchors[i]);
    read_size_classes(s, out);
    out->recent_trades.buy_lots = s->trade_buy_lots;
    out->recent_trades.sell_lots = s->trade_sell_lots;
    out->recent_trades.trade_count = (int64_t)s->trade_count;
    if (c->recent_slot_us == 0) return;
    out->recent_time.span_us = c->recent_slot_us * c->recent_slot_count;
    const int64_t oldest = stream_us / c->recent_slot_us - c->recent_slot_count + 1;
    for (int64_t i = 0; i < c->recent_slot_count; i++) {
        const recent_slot *slot = &s->slots[i];
        if (slot->trade_count == 0 || slot->number < oldest) continue;
        out->recent_time.buy_lots += slot->buy_lots;
        out->recent_time.sell_lots += slot->sell_lots;
        out->recent_time.trade_count += slot->trade_count;
    }
}

static void put_vwap(writer *w, const flow_vwap *v)
{
    put(w, v->first_input);
    put_i64(w, v->ts_us);
    put_i64(w, v->lots);
    put_i128(w, i128_of(v->notional_ticklots));
    for (int i = 0; i < 3; i++)
        put(w, v->square_ticklots.words[i]);
}

static void get_vwap(reader *r, flow_vwap *v, int64_t stream_us)
{
    v->first_input = get(r);
    v->ts_us = get_between(r, 0, stream_us);
    v->lots = get_between(r, 0, INT64_MAX);
    v->notional_ticklots = i128_pair(get_i128(r));
    for (int i = 0; i < 3; i++)
        v->square_ticklots.words[i] = get(r);
}

/* Slots are written from the newest with prints back, so long as they can matter again. */
void session_save(const session *s, writer *w)
{
    const flow_orderflow_config *c = s->config;
    if (c->vwap_on) {
        put_vwap(w, &s->vwap);
        for (size_t i = 0; i < FLOW_ANCHORS_MAX; i++)
            put_vwap(w, &s->anchors[i]);
        put_i64(w, s->anchor_day);
    }
    for (int64_t i = 0; i < c->size_class_count; i++) {
        put_i64(w, s->at_least[i].buy_lots);
        put_i64(w, s->at_least[i].sell_lots);
        put_i64(w, s->at_least[i].trade_count);
    }
    if (c->recent_trades_count > 0) {
        const size_t capacity = (size_t)c->recent_trades_count;
        const size_t oldest = s->trade_count == capacity ? s->trade_next : 0;
        put(w, s->trade_count);
        for (size_t i = 0; i < s->trade_count; i++)
            put_i64(w, s->trades[(oldest + i) % capacity]);
    }
    if (c->recent_slot_us > 0) {
        put_i64(w, s->slot_number);
        for (int64_t i = 0; i < c->recent_slot_count && i <= s->slot_number; i++) {
            const recent_slot *slot = &s->slots[(s->slot_number - i) % c->recent_slot_count];
            const bool present = slot->trade_count > 0 && slot->number == s->slot_number - i;
            put_i64(w, present ? slot->trade_count : 0);
            if (!present) continue;
            put_i64(w, slot->buy_lots);
            put_i64(w, slot->sell_lots);
        }
    }
}

bool session_load(session *s, reader *r, int64_t stream_us)
{
    const flow_orderflow_config *c = s->config;
    if (c->vwap_on) {
        get_vwap(r, &s->vwap, stream_us);
        for (size_t i = 0; i < FLOW_ANCHORS_MAX; i++)
            get_vwap(r, &s->anchors[i], stream_us);
        s->anchor_day = get_between(r, -1, stream_us / DAY_US);
    }
    for (int64_t i = 0; i < c->size_class_count; i++) {
        s->at_least[i].buy_lots = get_between(r, 0, INT64_MAX);
        s->at_least[i].sell_lots = get_between(r, 0, INT64_MAX);
        s->at_least[i].trade_count = get_between(r, 0, INT64_MAX);
    }
    if (c->recent_trades_count > 0) {
        const int64_t count = get_between(r, 0, c->recent_trades_count);
        for (int64_t i = 0; i < count && !r->bad; i++)
            push_trade(s, get_between(r, -FLOW_QTY_LOTS_MAX, FLOW_QTY_LOTS_MAX));
    }
    if (c->recent_slot_us > 0) {
        const int64_t newest = get_between(r, -1, stream_us / c->recent_slot_us);
        for (int64_t i = 0; i < c->recent_slot_count && i <= newest && !r->bad; i++) {
            const int64_t trades = get_between(r, 0, INT64_MAX);
            if (trades == 0) continue;
            recent_slot *slot = session_slot(s, (newest - i) * c->recent_slot_us);
            slot->trade_count = trades;
            slot->buy_lots = get_between(r, 0, INT64_MAX);
            slot->sell_lots = get_between(r, 0, INT64_MAX);
        }
        s->slot_number = newest;
    }
    return !r->bad;
}
