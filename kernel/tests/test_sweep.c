/*
 * A sweep against a kernel for each set, through the C interface; meant for builds with
 * AddressSanitizer and UBSan. Tapes, settings, targets and the cuts into batches are random; every
 * number of every result must be the kernel's. Columns and targets lie at the end of their own
 * memory, so that a read too far is seen.
 */
#include "sweep_draws.h"

#define ROUNDS 600
#define TRADES_MAX 20000
#define SETS_MAX 5
#define TAKEN 64
#define LARGEST_TRADES 60 /* of the largest quantity: twice as many leave 64 bits */

/* What a set amounts to when a kernel runs it. */
typedef struct expected {
    flow_snapshot end;
    i128 low_atoms, high_atoms, drawdown_atoms, notional_atoms;
    uint64_t order_count, fill_count;
    int64_t refused_status, refused_decision;
    i128 *equity_atoms;
} expected;

static void empty_outboxes(flow_kernel *k, const flow_market *m, expected *e)
{
    flow_fill fills[TAKEN];
    flow_order_event events[TAKEN];
    flow_equity equity[TAKEN];
    flow_bar bars[TAKEN];
    size_t count;
    do {
        EXPECT(flow_take_fills(k, fills, TAKEN, &count) == FLOW_OK);
        e->fill_count += count;
        for (size_t i = 0; i < count; i++)
            e->notional_atoms +=
                (i128)fills[i].price_ticks * fills[i].qty_lots * m->atoms_per_ticklot;
    } while (count == TAKEN);
    do
        EXPECT(flow_take_order_events(k, events, TAKEN, &count) == FLOW_OK);
    while (count == TAKEN);
    do
        EXPECT(flow_take_equity(k, equity, TAKEN, &count) == FLOW_OK);
    while (count == TAKEN);
    do
        EXPECT(flow_take_bars(k, 0, 0, bars, TAKEN, &count) == FLOW_OK);
    while (count == TAKEN);
}

static void sample(expected *e, size_t decision, i128 equity)
{
    if (e->high_atoms - equity > e->drawdown_atoms) e->drawdown_atoms = e->high_atoms - equity;
    if (equity > e->high_atoms) e->high_atoms = equity;
    if (equity < e->low_atoms) e->low_atoms = equity;
    e->equity_atoms[decision] = equity;
}

/* Follow a row of targets with a kernel; decisions are written from `found` on as they come. */
static expected run_kernel(const flow_config *config, const flow_market *market, const tape *t,
                           const int64_t *targets, size_t decision_count)
{
    flow_kernel *k = NULL;
    EXPECT(flow_create(config, market, 1, &k) == FLOW_OK);
    const flow_batch batch = batch_of(t, 0, t->count);
    const i128 cash = whole(config->initial_cash_atoms);
    expected e = {
        .low_atoms = cash,
        .high_atoms = cash,
        .refused_decision = -1,
        .equity_atoms = allocated((decision_count + 1) * sizeof(i128)),
    };
    size_t at = 0, decision = 0;
    int64_t before = 0;
    while (at < t->count && e.refused_status == FLOW_OK) {
        flow_stop stop;
        if (flow_run(k, &batch, at, &at, &stop) != FLOW_OK) {
            EXPECT(!"a batch that the kernel takes");
            break;
        }
        empty_outboxes(k, market, &e);
        if (stop != FLOW_STOP_DECISION) continue;
        flow_snapshot now;
        EXPECT(flow_get_snapshot(k, 0, &now) == FLOW_OK);
        EXPECT(decision < decision_count);
        sample(&e, decision, whole(now.equity_atoms));
        const int64_t change = targets[decision] - before;
        if (change != 0) {
            const flow_request order = {
                .side = change > 0 ? 1 : -1,
                .qty_lots = change > 0 ? change : -change,
            };
            uint64_t id;
            e.refused_status = flow_place(k, now.stream_us, &order, 1, &id);
            if (e.refused_status != FLOW_OK) e.refused_decision = (int64_t)decision;
            e.order_count += e.refused_status == FLOW_OK;
        }
        before = targets[decision++];
    }
    if (e.refused_status == FLOW_OK) EXPECT(decision == decision_count);
    EXPECT(flow_get_snapshot(k, 0, &e.end) == FLOW_OK);
    for (; decision < decision_count; decision++)
        e.equity_atoms[decision] = whole(e.end.equity_atoms);
    flow_destroy(k);
    return e;
}

static bool same(flow_i128 a, flow_i128 b) { return a.lo == b.lo && a.hi == b.hi; }

static void compare(const expected *e, const flow_sweep_result *r, const flow_i128 *equity,
                    size_t decision_count)
{
    EXPECT(r->refused_status == e->refused_status && r->refused_decision == e->refused_decision);
    EXPECT(r->position_lots == e->end.position_lots);
    EXPECT(r->order_count == e->order_count && r->fill_count == e->fill_count);
    EXPECT(r->open_order_count == (uint64_t)e->end.open_order_count);
    EXPECT(same(r->cash_atoms, e->end.cash_atoms) && same(r->cost_atoms, e->end.cost_atoms));
    EXPECT(same(r->realized_atoms, e->end.realized_atoms));
    EXPECT(same(r->unrealized_atoms, e->end.unrealized_atoms));
    EXPECT(same(r->fees_atoms, e->end.fees_atoms) && same(r->equity_atoms, e->end.equity_atoms));
    EXPECT(whole(r->notional_atoms) == e->notional_atoms);
    EXPECT(whole(r->equity_min_atoms) == e->low_atoms);
    EXPECT(whole(r->equity_max_atoms) == e->high_atoms);
    EXPECT(whole(r->drawdown_max_atoms) == e->drawdown_atoms);
    for (size_t i = 0; i < decision_count; i++)
        EXPECT(whole(equity[i]) == e->equity_atoms[i]);
}

/* Some sets through one sweep, in pieces; each must be what a kernel makes of it. */
static void round_of(size_t trades)
{
    /* Prints a microsecond apart, so that moments coincide, or hours, for the fee tiers. */
    static const int64_t gaps_us[] = {3, 40, 2000, 40000000000};
    const int64_t gap_us = gaps_us[below(4)];
    const flow_config config = any_config(gap_us);
    const flow_market market = any_market();
    tape t = make_tape(trades, gap_us, below(2) ? 20 : 300);
    flow_decisions at = {config.decide_trades_count, config.decide_grid_us, 0, 0, 0};
    size_t rows, decisions;
    EXPECT(flow_find_decisions(&at, t.ts_us, trades, NULL, 0, &rows, &decisions) == FLOW_OK);
    EXPECT(rows == trades);

    const size_t sets = (size_t)below(SETS_MAX + 1);
    int64_t *wide = allocated(sets * decisions * sizeof *wide);
    int32_t *narrow = allocated(sets * decisions * sizeof *narrow);
    for (size_t s = 0; s < sets; s++) {
        const int64_t often = 1 + below(20), span = 1 + below(120);
        int64_t target = 0;
        for (size_t d = 0; d < decisions; d++) {
            if (below(often) == 0) target = below(span) - span / 2;
            wide[s * decisions + d] = target;
            narrow[s * decisions + d] = (int32_t)target;
        }
    }
    flow_i128 *equity = allocated(sets * decisions * sizeof *equity);
    flow_sweep *sweep = NULL;
    EXPECT(flow_sweep_create(&config, &market, sets, &sweep) == FLOW_OK);
    const bool in_32_bits = below(2);
    const flow_targets targets = {
        .lots_i32 = in_32_bits ? narrow : NULL,
        .lots_i64 = in_32_bits ? NULL : wide,
        .stride = decisions,
        .count = decisions,
    };
    const int64_t longest = below(2) ? (int64_t)trades : 1 + (int64_t)trades / 5;
    for (size_t row = 0; row < trades;) {
        size_t count = 1 + (size_t)below(longest);
        count = count < trades - row ? count : trades - row;
        const flow_batch batch = batch_of(&t, row, count);
        EXPECT(flow_sweep_run(sweep, &batch, &targets, equity) == FLOW_OK);
        row += count;
    }
    uint64_t counted;
    EXPECT(flow_sweep_decision_count(sweep, &counted) == FLOW_OK && counted == decisions);
    flow_sweep_result results[SETS_MAX];
    EXPECT(flow_sweep_get_results(sweep, results, sets) == FLOW_OK);
    for (size_t s = 0; s < sets; s++) {
        expected e = run_kernel(&config, &market, &t, wide + s * decisions, decisions);
        compare(&e, &results[s], equity + s * decisions, decisions);
        free(e.equity_atoms);
    }
    flow_sweep_destroy(sweep);
    free(equity);
    free(narrow);
    free(wide);
    free_tape(&t);
}

/* A window of the targets at a time, where all of them would not fit into memory. */
static void test_windows(void)
{
    const flow_config config = plain_config();
    const flow_market market = plain_market();
    tape t = make_tape(3000, 100, 20);
    flow_sweep *all = NULL, *parts = NULL;
    EXPECT(flow_sweep_create(&config, &market, 2, &all) == FLOW_OK);
    EXPECT(flow_sweep_create(&config, &market, 2, &parts) == FLOW_OK);
    int64_t lots[2 * 4000];
    for (size_t i = 0; i < 8000; i++)
        lots[i] = below(5) - 2;
    const flow_targets whole_rows = {.lots_i64 = lots, .stride = 4000, .count = 4000};
    flow_batch batch = batch_of(&t, 0, t.count);
    EXPECT(flow_sweep_run(all, &batch, &whole_rows, NULL) == FLOW_OK);
    for (size_t row = 0; row < t.count; row += 500) {
        uint64_t first;
        EXPECT(flow_sweep_decision_count(parts, &first) == FLOW_OK);
        const flow_targets window = {
            .lots_i64 = lots + first, .stride = 4000, .first = (size_t)first, .count = 600};
        batch = batch_of(&t, row, 500);
        EXPECT(flow_sweep_run(parts, &batch, &window, NULL) == FLOW_OK);
    }
    flow_sweep_result one[2], other[2];
    EXPECT(flow_sweep_get_results(all, one, 2) == FLOW_OK);
    EXPECT(flow_sweep_get_results(parts, other, 2) == FLOW_OK);
    EXPECT(memcmp(one, other, sizeof one) == 0);
    EXPECT(one[0].fill_count > 0);
    flow_sweep_destroy(all);
    flow_sweep_destroy(parts);
    free_tape(&t);
}

/* What is refused does nothing. */
static void test_refusals(void)
{
    flow_config config = plain_config();
    const flow_market market = plain_market();
    flow_sweep *w = NULL;
    EXPECT(flow_sweep_create(&config, &market, 1, NULL) == FLOW_NULL_POINTER);
    EXPECT(flow_sweep_create(NULL, &market, 1, &w) == FLOW_NULL_POINTER && !w);
    config.decide_on_fill = 1;
    EXPECT(flow_sweep_create(&config, &market, 1, &w) == FLOW_BAD_CONFIG && !w);
    config.decide_on_fill = 0;
    config.account_kind = FLOW_ACCOUNT_SPOT;
    EXPECT(flow_sweep_create(&config, &market, 1, &w) == FLOW_BAD_CONFIG && !w);
    config.account_kind = FLOW_ACCOUNT_FREE;
    config.orders_max = 0;
    EXPECT(flow_sweep_create(&config, &market, 1, &w) == FLOW_BAD_CONFIG && !w);
    config.orders_max = 4096;
    EXPECT(flow_sweep_create(&config, &market, SIZE_MAX / 1000, &w) == FLOW_NO_MEMORY && !w);
    config.orders_max = 8;
    EXPECT(flow_sweep_create(&config, &market, 1, &w) == FLOW_OK);

    tape t = make_tape(2000, 100, 20);
    flow_batch batch = batch_of(&t, 0, t.count);
    flow_decisions at = {.decide_grid_us = config.decide_grid_us};
    size_t rows, count;
    EXPECT(flow_find_decisions(&at, t.ts_us, t.count, NULL, 0, &rows, &count) == FLOW_OK);
    at.decide_grid_us = -1;
    EXPECT(flow_find_decisions(&at, t.ts_us, 1, NULL, 0, &rows, &rows) == FLOW_BAD_CONFIG);
    EXPECT(flow_find_decisions(&at, NULL, 1, NULL, 0, &rows, &rows) == FLOW_NULL_POINTER);
    int64_t *lots = allocated(count * 8);
    for (size_t i = 0; i < count; i++)
        lots[i] = (int64_t)(i % 3);
    flow_sweep_result before, after;
    EXPECT(flow_sweep_get_results(w, &before, 1) == FLOW_OK);
    flow_targets targets = {.lots_i64 = lots, .stride = count, .count = count - 1};
    EXPECT(flow_sweep_run(w, &batch, &targets, NULL) == FLOW_SMALL_BUFFER);
    targets = (flow_targets){.lots_i64 = lots, .stride = count, .first = 1, .count = count};
    EXPECT(flow_sweep_run(w, &batch, &targets, NULL) == FLOW_SMALL_BUFFER);
    targets = (flow_targets){.stride = count, .count = count};
    EXPECT(flow_sweep_run(w, &batch, &targets, NULL) == FLOW_SMALL_BUFFER);
    const int32_t other = 0;
    targets = (flow_targets){&other, lots, count, 0, count};
    EXPECT(flow_sweep_run(w, &batch, &targets, NULL) == FLOW_BAD_CONFIG);
    targets.lots_i32 = NULL;
    flow_sweep *halves = NULL;
    EXPECT(flow_sweep_create(&config, &market, 1, &halves) == FLOW_OK);
    const flow_batch first = batch_of(&t, 0, t.count / 2);
    const flow_batch second = batch_of(&t, t.count / 2, t.count - t.count / 2);
    flow_targets one_less = targets;
    one_less.count--;
    EXPECT(flow_sweep_run(halves, &first, &one_less, NULL) == FLOW_OK);
    EXPECT(flow_sweep_run(halves, &second, &one_less, NULL) == FLOW_SMALL_BUFFER);
    EXPECT(flow_sweep_run(halves, &second, &targets, NULL) == FLOW_OK);
    EXPECT(flow_sweep_run(w, &batch, &one_less, NULL) == FLOW_SMALL_BUFFER);
    flow_sweep_destroy(halves);
    flow_batch wrong = batch;
    wrong.market_last = 1;
    EXPECT(flow_sweep_run(w, &wrong, &targets, NULL) == FLOW_BAD_MARKET);
    EXPECT(flow_sweep_run(NULL, &batch, &targets, NULL) == FLOW_NULL_POINTER);
    EXPECT(flow_sweep_get_results(w, &after, 0) == FLOW_SMALL_BUFFER);
    EXPECT(flow_sweep_get_results(w, &after, 1) == FLOW_OK);
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    EXPECT(flow_sweep_run(w, &batch, &targets, NULL) == FLOW_OK);
    wrong = batch;
    wrong.total_lots = INT64_MAX;
    EXPECT(flow_sweep_run(w, &wrong, &targets, NULL) == FLOW_OVERFLOW);
    flow_sweep_destroy(w);
    flow_sweep_destroy(NULL);
    free(lots);
    free_tape(&t);
}

/* Orders as large as they may be: the same ones are refused, the same sums reached. */
static void test_largest(void)
{
    flow_config config = plain_config();
    flow_market market = plain_market();
    config.decide_trades_count = 1;
    config.initial_cash_atoms = pair_of((i128)1 << 100);
    config.fee_unit_atoms = (int64_t)1 << 60;
    for (int round = 0; round < 20; round++) {
        market.atoms_per_ticklot = round % 8 == 1 ? 100000000 : 1;
        config.fee_tiers[0].taker_ppb = round & 2 ? FLOW_PPB : -FLOW_PPB;
        config.lanes[FLOW_BASE].slip_ticks = (int64_t)1 << 40;
        config.lanes[FLOW_PESSIMISTIC].slip_ticks = (int64_t)1 << 40;
        tape t = make_tape(LARGEST_TRADES, 1000, 1);
        int64_t targets[LARGEST_TRADES];
        for (size_t i = 0; i < t.count; i++) {
            t.price_ticks[i] = FLOW_PRICE_TICKS_MAX - below(1000000);
            t.qty_lots[i] = FLOW_QTY_LOTS_MAX;
            targets[i] = (below(7) - 3) * (FLOW_QTY_LOTS_MAX / 7) + below(1000000);
            if (i > 20) targets[i] = targets[i - 1] + FLOW_QTY_LOTS_MAX;
        }
        flow_sweep *w = NULL;
        EXPECT(flow_sweep_create(&config, &market, 1, &w) == FLOW_OK);
        const flow_targets rows = {
            .lots_i64 = targets, .stride = LARGEST_TRADES, .count = LARGEST_TRADES};
        const flow_batch batch = batch_of(&t, 0, t.count);
        flow_i128 equity[LARGEST_TRADES];
        EXPECT(flow_sweep_run(w, &batch, &rows, equity) == FLOW_OK);
        flow_sweep_result result;
        EXPECT(flow_sweep_get_results(w, &result, 1) == FLOW_OK);
        expected e = run_kernel(&config, &market, &t, targets, t.count);
        EXPECT(e.refused_status != FLOW_OK);
        compare(&e, &result, equity, t.count);
        free(e.equity_atoms);
        flow_sweep_destroy(w);
        free_tape(&t);
    }
}

int main(void)
{
    for (int i = 0; i < ROUNDS; i++)
        round_of(1 + (size_t)below(i % 20 == 0 ? TRADES_MAX : 2000));
    test_windows();
    test_refusals();
    test_largest();
    if (failures) printf("%d failures\n", failures);
    if (!failures) printf("sweep: all good\n");
    return failures != 0;
}
