/*
 * Canonical state bytes.
 *
 * "FLOWST02", then words: semantics version, configuration, instruments, core, open orders behind
 * their number, each instrument. Nothing else of the kernel is state.
 */
#include <assert.h> /* static_assert */
#include <string.h> /* memcmp, memcpy */

#include "internal.h"

#define MAGIC 0x32305453574f4c46u /* "FLOWST02" */

static_assert(sizeof(flow_config) % 8 == 0 && sizeof(flow_order) % 8 == 0, "whole words");
static_assert(sizeof(flow_request) == 9 * 8 + 8, "no padding");

/* Records that are nothing but whole words. */
static void put_words(writer *w, const void *record, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)record + at, 8);
        put(w, word);
    }
}

static void get_words(reader *r, void *record, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 8) {
        const uint64_t word = get(r);
        memcpy((uint8_t *)record + at, &word, 8);
    }
}

static void put_config(writer *w, const flow_kernel *k)
{
    put(w, MAGIC);
    put(w, FLOW_SEMANTICS_VERSION);
    put_words(w, &k->config, sizeof k->config);
    put(w, k->market_count);
}

static void put_market_config(writer *w, const flow_market *m)
{
    put_words(w, m, offsetof(flow_market, flow));
    orderflow_put_config(w, &m->flow);
}

static void put_head(writer *w, const flow_kernel *k)
{
    put_config(w, k);
    for (size_t i = 0; i < k->market_count; i++)
        put_market_config(w, &k->markets[i].config);
}

/* Rules of venues are inputs as well as configuration: those in the bytes are the valid ones. */
static bool take_rules(flow_kernel *k, const reader *r)
{
    writer head = {NULL, 0};
    put_config(&head, k);
    for (size_t i = 0; i < k->market_count; i++) {
        flow_market *m = &k->markets[i].config;
        reader at = *r;
        at.at = head.at + offsetof(flow_market, rules);
        put_market_config(&head, m);
        get_words(&at, &m->rules, sizeof m->rules);
        if (at.bad || !venue_rules_are_valid(&m->rules)) return false;
    }
    return true;
}

static void put_core(writer *w, const core *c)
{
    put(w, c->input);
    put(w, c->trade_count);
    put(w, c->next_order_id);
    put(w, c->next_rank);
    put_i64(w, c->stream_us);
    put_i64(w, c->decide_next_us);
    put_i64(w, c->equity_next_us);
    put(w, c->ended);
    put(w, c->halted);
    for (int l = 0; l < FLOW_LANES; l++) {
        const account *a = &c->accounts[l];
        put_i128(w, a->cash_atoms);
        put_i128(w, a->realized_atoms);
        put_i128(w, a->fees_atoms);
        put_i128(w, a->funding_atoms);
    }
    put_i64(w, c->volume.day);
    for (int day = 0; day < VOLUME_DAYS; day++)
        put_i128(w, c->volume.day_atoms[day]);
}

static void get_core(reader *r, core *c)
{
    c->input = get(r);
    c->trade_count = get(r);
    c->next_order_id = get(r);
    c->next_rank = get(r);
    c->stream_us = get_between(r, 0, FLOW_TS_US_MAX);
    c->decide_next_us = get_i64(r);
    c->equity_next_us = get_i64(r);
    c->ended = get_between(r, 0, 1) == 1;
    c->halted = get_between(r, 0, 1) == 1;
    for (int l = 0; l < FLOW_LANES; l++) {
        account *a = &c->accounts[l];
        a->cash_atoms = get_i128(r);
        a->realized_atoms = get_i128(r);
        a->fees_atoms = get_i128(r);
        a->funding_atoms = get_i128(r);
    }
    c->volume.day = get_between(r, 0, FLOW_TS_US_MAX);
    for (int day = 0; day < VOLUME_DAYS; day++)
        c->volume.day_atoms[day] = get_i128(r);
}

/* What the rest of the kernel relies on for its memory and its arithmetic. */
static bool core_is_valid(const core *c, const flow_config *config)
{
    if (c->next_order_id < 1 || c->next_order_id >= FLOW_GROUP || c->trade_count > c->input)
        return false;
    /* A grid's next point is set by the first input and then always lies ahead. */
    if (c->decide_next_us <= c->stream_us || c->equity_next_us <= c->stream_us) return false;
    return config->decide_grid_us > 0 || c->decide_next_us == NEVER_US;
}

static bool is_between(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

static bool order_is_valid(const flow_kernel *k, const flow_order *o, uint64_t after_id)
{
    const flow_request *r = &o->request;
    if (o->order_id <= after_id || o->order_id >= k->core.next_order_id ||
        r->market >= k->market_count || (r->side != 1 && r->side != -1) ||
        r->kind > FLOW_TRAILING_STOP || r->time_in_force > FLOW_GTD ||
        !is_between(o->stage, FLOW_PENDING, FLOW_RESTING) ||
        !is_between(o->active_us, 0, 2 * FLOW_TS_US_MAX) || o->cancel_us < 0 || o->amend_us < 0 ||
        !is_between(r->price_ticks, is_limit_kind(o), FLOW_PRICE_TICKS_MAX) ||
        !is_between(r->trigger_ticks, 0, FLOW_PRICE_TICKS_MAX) ||
        !is_between(r->qty_lots, 0, FLOW_QTY_LOTS_MAX) ||
        !is_between(r->trail, 0, FLOW_PRICE_TICKS_MAX) ||
        !is_between(o->best_ticks, 0, FLOW_PRICE_TICKS_MAX) ||
        !is_between(o->first_ticks, 0, 2 * FLOW_PRICE_TICKS_MAX) ||
        !is_between(o->amend_qty_lots, 0, FLOW_QTY_LOTS_MAX) ||
        !is_between(o->amend_price_ticks, 0, FLOW_PRICE_TICKS_MAX) ||
        !is_between(o->amend_trigger_ticks, 0, FLOW_PRICE_TICKS_MAX))
        return false;
    for (int l = 0; l < FLOW_LANES; l++) {
        const flow_order_lane *in = &o->lanes[l];
        const bool used = l >= k->lane_first && l <= k->lane_last;
        if (!is_between(in->remaining_lots, 0, INT64_MAX / 4) ||
            !is_between(in->filled_lots, 0, INT64_MAX / 4) || in->queue_lots < 0 ||
            !is_between(in->shown_lots, 0, in->remaining_lots) || !is_between(in->done, 0, 1) ||
            (!used && !in->done))
            return false;
    }
    return order_is_open(k, o);
}

/* An order that has a parent is none itself, so that the end of one never ends a chain of others.
 */
static bool links_are_valid(const flow_kernel *k)
{
    for (size_t i = 0; i < k->order_count; i++) {
        const flow_order *o = &k->orders[i];
        const flow_order *parent = links_find(k, o->request.parent_id);
        if (parent && (parent->order_id >= o->order_id || parent->request.parent_id != 0 ||
                       parent->request.market != o->request.market))
            return false;
    }
    return true;
}

static void put_market(writer *w, const market *m)
{
    put_i64(w, m->mark_ticks);
    for (int l = 0; l < FLOW_LANES; l++) {
        const position *p = &m->positions[l];
        put_i64(w, p->lots);
        put_i128(w, p->cost_atoms);
        put_i128(w, p->margin_atoms);
        put_i128(w, p->bought_lots);
        put_i128(w, p->sold_lots);
    }
    quote_save(&m->quote, w);
    levels_save(&m->levels, w);
    orderflow_save(&m->flow, w);
}

static bool get_market(reader *r, market *m, const core *c)
{
    m->mark_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
    for (int l = 0; l < FLOW_LANES; l++) {
        position *p = &m->positions[l];
        p->lots = get_between(r, -INT64_MAX / 4, INT64_MAX / 4);
        p->cost_atoms = get_i128(r);
        p->margin_atoms = get_i128(r);
        p->bought_lots = get_i128(r);
        p->sold_lots = get_i128(r);
    }
    return quote_load(&m->quote, r, c->stream_us) && levels_load(&m->levels, r) &&
           orderflow_load(&m->flow, r, c->stream_us) && m->flow.trade_count <= c->trade_count;
}

static void write_state(const flow_kernel *k, writer *w)
{
    put_head(w, k);
    put_core(w, &k->core);
    put(w, k->order_count);
    for (size_t i = 0; i < k->order_count; i++)
        put_words(w, &k->orders[i], sizeof k->orders[i]);
    for (size_t i = 0; i < k->market_count; i++)
        put_market(w, &k->markets[i]);
}

static bool is_drained(const flow_kernel *k)
{
    for (size_t i = 0; i < k->market_count; i++)
        if (!orderflow_is_drained(&k->markets[i].flow)) return false;
    return k->fills.tail == 0 && k->order_events.tail == 0 && k->equity.tail == 0;
}

flow_status flow_state_bytes(const flow_kernel *k, size_t *bytes_out)
{
    RETURN_IF(!k || !bytes_out, FLOW_NULL_POINTER);
    writer w = {NULL, 0};
    write_state(k, &w);
    *bytes_out = w.at;
    return FLOW_OK;
}

flow_status flow_save_state(const flow_kernel *k, uint8_t *out, size_t capacity, size_t *bytes_out)
{
    size_t need;
    RETURN_IF(!k || !out || !bytes_out, FLOW_NULL_POINTER);
    RETURN_IF(!is_drained(k), FLOW_NOT_DRAINED);
    RETURN_IF(flow_state_bytes(k, &need) != FLOW_OK || need > capacity, FLOW_SMALL_BUFFER);
    writer w = {out, 0};
    write_state(k, &w);
    *bytes_out = w.at;
    return FLOW_OK;
}

/* Whether the bytes begin as a kernel of this configuration, with their rules, writes them. */
static bool head_matches(const flow_kernel *k, reader *r)
{
    writer counted = {NULL, 0};
    put_head(&counted, k);
    if (r->count < counted.at) return false;
    uint8_t head[sizeof(flow_config) + 8 * 3 + FLOW_MARKETS_MAX * (sizeof(flow_market) + 64)];
    writer w = {head, 0};
    put_head(&w, k);
    r->at = w.at;
    return memcmp(r->bytes, head, w.at) == 0;
}

static bool read_state(flow_kernel *k, reader *r)
{
    if (!take_rules(k, r) || !head_matches(k, r)) return false;
    get_core(r, &k->core);
    const uint64_t order_count = get(r);
    if (r->bad || !core_is_valid(&k->core, &k->config) ||
        order_count > (uint64_t)KEPT_PER_OPEN * k->config.orders_max)
        return false;
    uint64_t after_id = 0;
    for (uint64_t i = 0; i < order_count; i++) {
        get_words(r, &k->orders[i], sizeof k->orders[i]);
        if (r->bad || !order_is_valid(k, &k->orders[i], after_id)) return false;
        after_id = k->orders[i].order_id;
    }
    k->order_count = (size_t)order_count;
    if (!links_are_valid(k) || links_base_count(k) > k->config.orders_max) return false;
    for (size_t i = 0; i < k->market_count; i++)
        if (!get_market(r, &k->markets[i], &k->core)) return false;
    return !r->bad && r->at == r->count;
}

flow_status flow_load_state(flow_kernel *k, const uint8_t *bytes, size_t byte_count)
{
    RETURN_IF(!k || !bytes, FLOW_NULL_POINTER);
    flow_market configs[FLOW_MARKETS_MAX];
    for (size_t i = 0; i < k->market_count; i++)
        configs[i] = k->markets[i].config;
    flow_kernel *fresh = NULL;
    const flow_status status = flow_create(&k->config, configs, k->market_count, &fresh);
    RETURN_IF(status != FLOW_OK, status);
    reader r = {bytes, 0, byte_count, false};
    if (!read_state(fresh, &r)) {
        flow_destroy(fresh);
        return FLOW_BAD_STATE;
    }
    orders_plan(fresh);
    const flow_kernel old = *k;
    *k = *fresh;
    *fresh = old;
    flow_destroy(fresh);
    return FLOW_OK;
}
