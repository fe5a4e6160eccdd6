/*
 * Long random sessions with orders of every kind: however batches are cut and whenever the state
 * moves to a fresh kernel, the same is put out and the state is the same. And what must stop,
 * stops.
 */
#include "tests.h"

#include "../src/internal.h" /* to spoil the books */

#define STEP_TRADES 50

static void command(flow_kernel *kernel)
{
    flow_snapshot snap;
    const uint64_t r = rng(), more = rng();
    EXPECT(flow_get_snapshot(kernel, (uint32_t)(more >> 60) % MARKETS, &snap) == FLOW_OK);
    const int64_t now = snap.stream_us, last = snap.last_ticks ? snap.last_ticks : 500;
    flow_order orders[3 * 8];
    size_t count = 0;
    uint64_t ids[3];
    flow_stop stop;
    EXPECT(flow_get_orders(kernel, orders, 3 * 8, &count) == FLOW_OK);
    const uint64_t some = count ? orders[(more >> 32) % count].order_id : 1;
    switch (more % 12) {
    case 0:
        flow_cancel(kernel, now, some);
        break;
    case 1:
        flow_amend(kernel, now, some, 1 + (int64_t)(r >> 8) % 900, 0, 0);
        break;
    case 2:
        flow_amend(kernel, now, some, 0, last + (int64_t)(r % 7) - 3, 0);
        break;
    case 3: {
        flow_request bracket[3] = {random_request(r, last), {0}, {0}};
        flow_request exits = {.qty_lots = bracket[0].qty_lots,
                              .parent_id = FLOW_GROUP,
                              .market = bracket[0].market,
                              .side = (int8_t)-bracket[0].side,
                              .flags = FLOW_REDUCE_ONLY};
        bracket[1] = bracket[2] = exits;
        bracket[1].kind = FLOW_LIMIT;
        bracket[1].price_ticks = last + 3 * bracket[0].side;
        bracket[2].kind = FLOW_STOP;
        bracket[2].trigger_ticks = last - 3 * bracket[0].side;
        bracket[2].sibling_id = FLOW_GROUP + 1;
        if (bracket[1].price_ticks > 0 && bracket[2].trigger_ticks > 0)
            flow_place(kernel, now, bracket, 3, ids);
        break;
    }
    case 4:
        flow_gap(kernel, (uint32_t)(r % MARKETS));
        break;
    case 5:
        flow_mark_price(kernel, (uint32_t)(r % MARKETS), now, last, &stop);
        flow_funding(kernel, (uint32_t)(r % MARKETS), now, (int64_t)(r >> 32) % 1000000, &stop);
        break;
    case 6:
        if (r % 8 == 0) flow_cancel_all(kernel, now, -1, &count);
        break;
    default: {
        const flow_request request = random_request(r, last);
        flow_place(kernel, now + (int64_t)(r % 30), &request, 1, ids);
    }
    }
}

typedef struct played {
    uint64_t hash;
    size_t bytes;
    uint64_t fills;
} played;

/* The whole session with batches of at most `cut` trades, commands at fixed inputs. Every `reload`
 * batches the state moves to a fresh kernel. */
static played play(const flow_config *config, size_t cut, size_t reload, uint8_t *state)
{
    static uint8_t moved[STATE_BYTES_MAX];
    flow_kernel *kernel = NULL;
    played out = {.hash = 1469598103934665603u};
    EXPECT(flow_create(config, MARKET_CONFIGS, MARKETS, &kernel) == FLOW_OK);
    rng_state = 99;
    for (size_t done = 0, batches = 0; done < TRADES;) {
        const size_t boundary = (done / STEP_TRADES + 1) * STEP_TRADES;
        size_t stop_row = done + cut < TRADES ? done + cut : TRADES;
        if (stop_row > boundary) stop_row = boundary;
        const flow_batch batch = batch_of(done, stop_row - done);
        size_t at = 0;
        flow_stop why;
        while (at < batch.count) {
            EXPECT(flow_run(kernel, &batch, at, &at, &why) == FLOW_OK);
            out.hash = drain(kernel, out.hash);
        }
        done = stop_row;
        if (done % STEP_TRADES == 0) command(kernel);
        out.hash = drain(kernel, out.hash);
        if (++batches % reload == 0) {
            const size_t bytes = save(kernel, moved);
            flow_destroy(kernel);
            EXPECT(flow_create(config, MARKET_CONFIGS, MARKETS, &kernel) == FLOW_OK);
            EXPECT(flow_load_state(kernel, moved, bytes) == FLOW_OK);
        }
    }
    EXPECT(flow_end(kernel) == FLOW_OK);
    out.bytes = save(kernel, state);
    flow_destroy(kernel);
    return out;
}

static void cuts_and_reloads_change_nothing(const flow_config *config)
{
    static uint8_t first[STATE_BYTES_MAX], other[STATE_BYTES_MAX];
    const size_t cuts[] = {1, 7};
    make_trades(12345);
    const played whole = play(config, TRADES, SIZE_MAX, first);
    EXPECT(whole.bytes > 500);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        const played again = play(config, cuts[i], SIZE_MAX, other);
        /* Outboxes are hashed kind by kind as they are drained, so only the state compares. */
        EXPECT(again.bytes == whole.bytes && memcmp(first, other, whole.bytes) == 0);
        const played moved = play(config, cuts[i], 50, other);
        EXPECT(moved.bytes == whole.bytes && memcmp(first, other, whole.bytes) == 0);
        EXPECT(moved.hash == again.hash);
    }
}

static void test_cuts_and_reloads_change_nothing(void)
{
    flow_config config = CONFIG;
    for (int kind = FLOW_ACCOUNT_FREE; kind <= FLOW_ACCOUNT_ISOLATED; kind++) {
        config.account_kind = kind;
        config.fill_model = FLOW_FILLS_QUEUED;
        cuts_and_reloads_change_nothing(&config);
    }
    config.fill_model = FLOW_FILLS_SPREAD;
    config.lane_count = 1;
    cuts_and_reloads_change_nothing(&config);
}

static void test_spoilt_books_halt(void)
{
    make_trades(5);
    for (int what = 0; what < 3; what++) {
        flow_kernel *kernel = make_kernel();
        flow_stop stop;
        if (what == 0) kernel->core.accounts[FLOW_PESSIMISTIC].cash_atoms++;
        if (what == 1) kernel->markets[1].positions[FLOW_BASE].bought_lots++;
        if (what == 2) kernel->core.accounts[FLOW_OPTIMISTIC].realized_atoms--;
        flow_status status = FLOW_OK;
        for (int i = 0; i < FLOW_BLOCK_INPUTS && status == FLOW_OK; i++)
            status = flow_clock(kernel, i, &stop);
        EXPECT(status == FLOW_HALTED);
        EXPECT(kernel->core.input == FLOW_BLOCK_INPUTS);
        REFUSED(flow_clock(kernel, INT32_MAX, &stop), FLOW_HALTED);
        const flow_request request = {.qty_lots = 1, .side = 1};
        uint64_t id;
        REFUSED(flow_place(kernel, INT32_MAX, &request, 1, &id), FLOW_HALTED);
        flow_destroy(kernel);
    }
}

int main(void)
{
    test_cuts_and_reloads_change_nothing();
    test_spoilt_books_halt();
    printf(failures ? "%d failed\n" : "execution: all good\n", failures);
    return failures ? 1 : 0;
}
