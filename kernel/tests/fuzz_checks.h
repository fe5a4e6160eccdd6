/* What always holds of a kernel, whatever was called. */
#ifndef FLOW_FUZZ_CHECKS_H
#define FLOW_FUZZ_CHECKS_H

#include "fuzz_script.h"

static int64_t print_lots[INPUTS_MAX];          /* of an input; 0: it was no print */
static i128 given_lots[INPUTS_MAX][FLOW_LANES]; /* to own orders */
static uint8_t before[BYTES_MAX], after[BYTES_MAX];

static void check_fill(const fuzz *f, const flow_fill *fill)
{
    CHECK(fill->lane >= 0 && fill->lane < FLOW_LANES);
    CHECK(fill->qty_lots > 0 && fill->price_ticks >= 0);
    if (fill->role == FLOW_LIQUIDATED || f->config.fill_model == FLOW_FILLS_SPREAD) return;
    CHECK(fill->input < INPUTS_MAX && print_lots[fill->input] > 0);
    const i128 share =
        ((i128)print_lots[fill->input] * f->config.lanes[fill->lane].participation_ppm + FLOW_PPM -
         1) /
        FLOW_PPM;
    i128 *given = &given_lots[fill->input][fill->lane];
    *given += fill->qty_lots;
    CHECK(*given <= share);
}

#define TAKE_SOME(call, type) \
    do { \
        static type taken[64]; \
        size_t count = 0; \
        do { \
            CHECK((call) == FLOW_OK); \
            CHECK(count <= capacity && capacity <= sizeof taken / sizeof *taken); \
            records += count; \
        } while (count > 0 && all); \
    } while (0)

static size_t take_fills(const fuzz *f, flow_kernel *k, size_t capacity, bool all)
{
    static flow_fill taken[64];
    size_t records = 0, count;
    do {
        CHECK(flow_take_fills(k, taken, capacity, &count) == FLOW_OK);
        for (size_t i = 0; i < count && k == f->kernel; i++)
            check_fill(f, &taken[i]);
        records += count;
    } while (count > 0 && all);
    return records;
}

/* Take up to `capacity` records of each outbox, again and again if all; returns how many. */
static size_t take(const fuzz *f, flow_kernel *k, size_t capacity, bool all)
{
    size_t records = 0;
    for (uint32_t m = 0; m < f->market_count; m++) {
        for (size_t s = 0; s < (size_t)f->markets[m].flow.series_count; s++) {
            TAKE_SOME(flow_take_bars(k, m, s, taken, capacity, &count), flow_bar);
            TAKE_SOME(flow_take_footprints(k, m, s, taken, capacity, &count), flow_footprint);
            TAKE_SOME(flow_take_footprint_rows(k, m, s, taken, capacity, &count),
                      flow_footprint_row);
        }
        TAKE_SOME(flow_take_bubbles(k, m, taken, capacity, &count), flow_bubble);
        TAKE_SOME(flow_take_marks(k, m, taken, capacity, &count), flow_mark);
    }
    records += take_fills(f, k, capacity, all);
    TAKE_SOME(flow_take_order_events(k, taken, capacity, &count), flow_order_event);
    TAKE_SOME(flow_take_equity(k, taken, capacity, &count), flow_equity);
    return records;
}

static size_t empty_outboxes(const fuzz *f, flow_kernel *k) { return take(f, k, 64, true); }

static size_t saved(const fuzz *f, uint8_t *out)
{
    size_t bytes = 0, need = 0;
    CHECK(flow_save_state(f->kernel, out, BYTES_MAX, &bytes) == FLOW_OK);
    CHECK(flow_state_bytes(f->kernel, &need) == FLOW_OK && need == bytes);
    return bytes;
}

/* ---- what always holds */

static void check_account(const fuzz *f, int lane)
{
    flow_account a;
    CHECK(flow_get_account(f->kernel, lane, &a) == FLOW_OK);
    i128 value = 0, cost = 0;
    for (uint32_t m = 0; m < f->market_count; m++) {
        flow_position p;
        CHECK(flow_get_position(f->kernel, m, lane, &p) == FLOW_OK);
        value += (i128)p.position_lots * p.mark_ticks * f->markets[m].atoms_per_ticklot;
        cost += wide(p.cost_atoms);
        CHECK(p.position_lots != 0 || (wide(p.cost_atoms) == 0 && wide(p.margin_atoms) == 0));
        CHECK(wide(p.margin_atoms) >= 0);
        if (f->config.account_kind == FLOW_ACCOUNT_SPOT) CHECK(p.position_lots >= 0);
        if (f->config.account_kind != FLOW_ACCOUNT_ISOLATED) CHECK(wide(p.margin_atoms) == 0);
    }
    const i128 equity = wide(a.equity_atoms);
    CHECK(equity == wide(a.cash_atoms) + value);
    CHECK(wide(a.unrealized_atoms) == value - cost);
    CHECK(equity - wide(f->config.initial_cash_atoms) ==
          wide(a.realized_atoms) + wide(a.unrealized_atoms) - wide(a.fees_atoms) -
              wide(a.funding_atoms));
}

static void check_orders(const fuzz *f)
{
    static flow_order orders[3 * KEPT_MAX];
    size_t count = 0, base_count = 0;
    uint64_t id = 0;
    CHECK(flow_get_orders(f->kernel, orders, 3 * KEPT_MAX, &count) == FLOW_OK);
    CHECK(count <= 2 * f->config.orders_max);
    for (size_t i = 0; i < count; i++) {
        const flow_order *o = &orders[i];
        bool open = false;
        CHECK(o->order_id > id);
        id = o->order_id;
        for (int l = 0; l < FLOW_LANES; l++) {
            const flow_order_lane *in = &o->lanes[l];
            CHECK(in->remaining_lots >= 0 && in->filled_lots >= 0 && in->queue_lots >= 0);
            CHECK(in->shown_lots >= 0 && in->shown_lots <= in->remaining_lots);
            CHECK(in->done == 0 || in->done == 1);
            open |= !in->done;
            if (in->done || (o->request.flags & FLOW_CLOSE_POSITION)) continue;
            CHECK(in->remaining_lots + in->filled_lots <= o->request.qty_lots);
        }
        CHECK(open);
        base_count += !o->lanes[FLOW_BASE].done;
    }
    CHECK(base_count <= f->config.orders_max);
}

static void check_everything(fuzz *f)
{
    for (int lane = 0; lane < FLOW_LANES; lane++)
        check_account(f, lane);
    check_orders(f);
    for (uint32_t m = 0; m < f->market_count; m++) {
        flow_snapshot snap;
        CHECK(flow_get_snapshot(f->kernel, m, &snap) == FLOW_OK);
        CHECK(snap.stream_us >= f->now);
        f->now = snap.stream_us;
        if (snap.last_ticks > 0) f->last[m] = snap.last_ticks;
        if (f->markets[m].flow.series_count > 0 || f->markets[m].flow.sums_on)
            CHECK((i128)snap.buy_lots + snap.sell_lots == f->volume_lots[m]);
        CHECK((snap.bid_ticks > 0) == (snap.last_ticks > 0));
    }
}

#endif
