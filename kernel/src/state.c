/*
 * Canonical state bytes.
 *
 * "FLOWST01", then words: semantics version, configuration, core, open orders behind their number,
 * order flow. Nothing else of the kernel is state.
 */
#include <string.h> /* memcmp */

#include "internal.h"

static const uint8_t MAGIC[8] = {'F', 'L', 'O', 'W', 'S', 'T', '0', '1'};

static void put_config(writer *w, const flow_config *c)
{
    put(w, FLOW_SEMANTICS_VERSION);
    put(w, c->orders_max);
    put_i64(w, c->decide_trades_count);
    put_i64(w, c->decide_grid_us);
    put_i64(w, c->decide_on_fill);
    put_i64(w, c->equity_grid_us);
    put_i64(w, c->latency_us);
    put_i64(w, c->maker_fee_ppm);
    put_i64(w, c->taker_fee_ppm);
    put_i64(w, c->atoms_per_ticklot);
    put_i64(w, c->fee_unit_atoms);
    put_i128(w, i128_of(c->initial_cash_atoms));
    orderflow_put_config(w, &c->orderflow);
}

static void put_core(writer *w, const core *c)
{
    put(w, c->input);
    put(w, c->next_order_id);
    put_i64(w, c->stream_us);
    put_i64(w, c->decide_next_us);
    put_i64(w, c->equity_next_us);
    put(w, c->ended);
    put_i64(w, c->account.position_lots);
    put_i128(w, c->account.cash_atoms);
    put_i128(w, c->account.cost_atoms);
    put_i128(w, c->account.realized_atoms);
    put_i128(w, c->account.fees_atoms);
}

static void get_core(reader *r, core *c)
{
    c->input = get(r);
    c->next_order_id = get(r);
    c->stream_us = get_i64(r);
    c->decide_next_us = get_i64(r);
    c->equity_next_us = get_i64(r);
    uint64_t ended = get(r);
    r->bad |= ended > 1;
    c->ended = ended == 1;
    c->account.position_lots = get_i64(r);
    c->account.cash_atoms = get_i128(r);
    c->account.cost_atoms = get_i128(r);
    c->account.realized_atoms = get_i128(r);
    c->account.fees_atoms = get_i128(r);
}

/* What the rest of the kernel relies on for its memory and its arithmetic. */
static bool core_is_valid(const core *c, const flow_config *config)
{
    int64_t lots_max = INT64_MAX / 4;
    if (c->stream_us < 0 || c->stream_us > FLOW_TS_US_MAX || c->next_order_id < 1) return false;
    if (c->account.position_lots > lots_max || c->account.position_lots < -lots_max) return false;
    /* A grid's next point is set by the first input and then always lies ahead. */
    if (c->decide_next_us <= c->stream_us || c->equity_next_us <= c->stream_us) return false;
    return config->decide_grid_us > 0 || c->decide_next_us == NEVER_US;
}

static void put_order(writer *w, const flow_order *o)
{
    put(w, o->order_id);
    put(w, o->placed_input);
    put_i64(w, o->price_ticks);
    put_i64(w, o->qty_lots);
    put_i64(w, o->remaining_lots);
    put_i64(w, o->active_us);
    put_i64(w, o->cancel_us);
    put_i64(w, o->side);
    put_i64(w, o->kind);
    put_i64(w, o->stage);
}

static bool get_order(reader *r, flow_order *o, uint64_t after_id, uint64_t before_id)
{
    *o = (flow_order){0};
    o->order_id = get(r);
    o->placed_input = get(r);
    o->price_ticks = get_i64(r);
    o->qty_lots = get_i64(r);
    o->remaining_lots = get_i64(r);
    o->active_us = get_i64(r);
    o->cancel_us = get_i64(r);
    int64_t side = get_i64(r), kind = get_i64(r), stage = get_i64(r);
    o->side = (int8_t)side;
    o->kind = (int8_t)kind;
    o->stage = (int8_t)stage;
    return !r->bad && o->order_id > after_id && o->order_id < before_id &&
           (side == 1 || side == -1) && (kind == FLOW_MARKET || kind == FLOW_LIMIT) &&
           stage >= FLOW_PENDING && stage <= FLOW_RESTING &&
           (kind == FLOW_LIMIT ? price_is_valid(o->price_ticks) : o->price_ticks == 0) &&
           o->qty_lots >= 1 && o->qty_lots <= FLOW_QTY_LOTS_MAX && o->remaining_lots >= 1 &&
           o->remaining_lots <= o->qty_lots && o->active_us >= 0 &&
           o->active_us <= 2 * FLOW_TS_US_MAX && o->cancel_us >= 0;
}

static void write_state(const flow_kernel *k, writer *w)
{
    uint64_t magic = 0;
    for (int i = 0; i < 8; i++)
        magic |= (uint64_t)MAGIC[i] << (8 * i);
    put(w, magic);
    put_config(w, &k->config);
    put_core(w, &k->core);
    put(w, k->order_count);
    for (size_t i = 0; i < k->order_count; i++)
        put_order(w, &k->orders[i]);
    orderflow_save(&k->flow, w);
}

static bool is_drained(const flow_kernel *k)
{
    size_t pending[3];
    return flow_pending(k, pending) == FLOW_OK && pending[0] + pending[1] + pending[2] == 0 &&
           orderflow_is_drained(&k->flow);
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

#define HEAD_BYTES_MAX 1024

flow_status flow_load_state(flow_kernel *k, const uint8_t *bytes, size_t byte_count)
{
    RETURN_IF(!k || !bytes, FLOW_NULL_POINTER);
    uint8_t head[HEAD_BYTES_MAX];
    writer w = {head, 8};
    put_config(&w, &k->config);
    RETURN_IF(byte_count < w.at || memcmp(bytes, MAGIC, 8) != 0 ||
                  memcmp(bytes + 8, head + 8, w.at - 8) != 0,
              FLOW_BAD_STATE);

    reader r = {bytes, w.at, byte_count, false};
    core c = {0};
    get_core(&r, &c);
    uint64_t order_count = get(&r);
    RETURN_IF(r.bad || !core_is_valid(&c, &k->config) || order_count > k->config.orders_max,
              FLOW_BAD_STATE);
    uint64_t after_id = 0;
    for (uint64_t i = 0; i < order_count; i++) {
        RETURN_IF(!get_order(&r, &k->spare_orders[i], after_id, c.next_order_id), FLOW_BAD_STATE);
        after_id = k->spare_orders[i].order_id;
    }
    orderflow flow;
    RETURN_IF(!orderflow_init(&flow, &k->config.orderflow), FLOW_NO_MEMORY);
    if (!orderflow_load(&flow, &r, c.stream_us) || r.at != byte_count ||
        flow.trade_count > c.input) {
        orderflow_free(&flow);
        return FLOW_BAD_STATE;
    }
    orderflow_free(&k->flow);
    k->flow = flow;

    k->core = c;
    k->order_count = (size_t)order_count;
    flow_order *orders = k->orders;
    k->orders = k->spare_orders;
    k->spare_orders = orders;
    k->fills.head = k->fills.tail = 0;
    k->order_events.head = k->order_events.tail = 0;
    k->equity.head = k->equity.tail = 0;
    orders_plan(k);
    return FLOW_OK;
}
