/*
 * States of which words were replaced: a kernel refuses them or goes on within its memory, whatever
 * its numbers then say. Needs -fwrapv, as the product has it: sums of such numbers wrap.
 */
#include "tests.h"

#define ROUNDS 1500
#define PRINTS 900

static uint8_t state[STATE_BYTES_MAX], damaged[STATE_BYTES_MAX], again[STATE_BYTES_MAX];

static void place_some(flow_kernel *kernel, int count)
{
    flow_snapshot snap;
    size_t open = 0;
    flow_order orders[3 * 8];
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
    EXPECT(flow_get_orders(kernel, orders, 3 * 8, &open) == FLOW_OK);
    for (; count > 0; count--) {
        const uint64_t r = rng();
        flow_request requests[2] = {random_request(rng(), snap.last_ticks),
                                    random_request(rng(), snap.last_ticks)};
        uint64_t ids[2];
        requests[1].market = requests[0].market;
        if (r % 4 == 0) {
            requests[1].side = requests[0].side;
            requests[1].sibling_id = FLOW_GROUP;
        } else if (r % 4 == 1) {
            requests[1].side = (int8_t)-requests[0].side;
            requests[1].parent_id = FLOW_GROUP;
        }
        if (open > 0 && r % 5 == 0) flow_amend(kernel, snap.stream_us, orders[0].order_id, 7, 0, 0);
        if (open > 0 && r % 11 == 0) flow_cancel(kernel, snap.stream_us, orders[0].order_id);
        flow_place(kernel, snap.stream_us, requests, 2, ids);
    }
}

/* Everything that can be done to a kernel; what it answers does not matter. */
static void use(flow_kernel *kernel, size_t start, size_t count)
{
    flow_snapshot snap;
    flow_stop stop;
    size_t at = 0, cancelled, bytes;
    flow_batch batch = batch_of(start, count);
    int64_t moved[PRINTS];
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
    for (size_t i = 0; i < count; i++) {
        const int64_t at_us = snap.stream_us + (ts[start + i] - ts[start]);
        moved[i] = at_us < 0 ? 0 : at_us > FLOW_TS_US_MAX ? FLOW_TS_US_MAX : at_us;
    }
    batch.ts_us = moved;
    EXPECT(flow_check_batch(&batch, &bytes) == FLOW_OK);
    place_some(kernel, 2);
    while (at < count) {
        const size_t before = at;
        if (flow_run(kernel, &batch, at, &at, &stop) != FLOW_OK) break;
        if (stop == FLOW_STOP_DECISION) place_some(kernel, 1);
        drain(kernel, 0);
        if (at == before && stop != FLOW_STOP_DRAIN) break;
    }
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
    flow_mark_price(kernel, 0, snap.stream_us, snap.last_ticks > 0 ? snap.last_ticks : 1, &stop);
    flow_funding(kernel, 0, snap.stream_us, -1000, &stop);
    flow_set_rule(kernel, 0, snap.stream_us, (int64_t)(rng() % 12), (int64_t)(rng() % 9), &stop);
    flow_gap(kernel, 0);
    flow_clock(kernel, snap.stream_us + (int64_t)(rng() % 5000), &stop);
    flow_cancel_all(kernel, snap.stream_us + 5000, -1, &cancelled);
    drain(kernel, 0);
    if (flow_save_state(kernel, again, STATE_BYTES_MAX, &bytes) == FLOW_OK)
        flow_load_state(kernel, again, bytes);
    flow_end(kernel);
    drain(kernel, 0);
}

static uint64_t strange_word(uint64_t word)
{
    static const uint64_t wild[] = {0,
                                    1,
                                    2,
                                    7,
                                    16,
                                    63,
                                    64,
                                    4096,
                                    65535,
                                    FLOW_PRICE_TICKS_MAX,
                                    FLOW_QTY_LOTS_MAX,
                                    FLOW_TS_US_MAX,
                                    INT64_MAX / 4,
                                    INT64_MAX,
                                    (uint64_t)1 << 63,
                                    UINT64_MAX,
                                    FLOW_GROUP};
    const uint64_t r = rng();
    switch (r % 4) {
    case 0:
        return word + 1 + (r >> 8) % 3;
    case 1:
        return word - 1 - (r >> 8) % 3;
    case 2:
        return word ^ (uint64_t)1 << (r >> 8) % 64;
    default:
        return wild[(r >> 8) % (sizeof wild / sizeof *wild)];
    }
}

static size_t play(uint64_t seed, const flow_config *config)
{
    size_t accepted = 0;
    make_trades(seed);
    flow_kernel *kernel = NULL;
    EXPECT(flow_create(config, MARKET_CONFIGS, MARKETS, &kernel) == FLOW_OK);
    flow_batch batch = batch_of(0, 1000 + rng() % 4000);
    for (size_t at = 0; at < batch.count;) {
        flow_stop stop;
        EXPECT(flow_run(kernel, &batch, at, &at, &stop) == FLOW_OK);
        if (stop == FLOW_STOP_DECISION) place_some(kernel, 2);
        drain(kernel, 0);
    }
    const size_t bytes = save(kernel, state);
    flow_destroy(kernel);
    const size_t head = 2048; /* mostly the configuration, which must be the same */
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(damaged, state, bytes);
        for (uint64_t left = 1 + rng() % 4; left > 0; left--) {
            const size_t at = (head + rng() % (bytes - head)) / 8 * 8;
            uint64_t word;
            memcpy(&word, damaged + at, 8);
            word = strange_word(word);
            memcpy(damaged + at, &word, 8);
        }
        EXPECT(flow_create(config, MARKET_CONFIGS, MARKETS, &kernel) == FLOW_OK);
        if (flow_load_state(kernel, damaged, bytes) == FLOW_OK) {
            accepted++;
            use(kernel, rng() % (TRADES - PRINTS), 1 + rng() % PRINTS);
        }
        flow_destroy(kernel);
    }
    return accepted;
}

/* Make the order with this number of the caller's a child in the saved bytes. */
static void adopt(size_t bytes, uint64_t client_id, uint64_t parent_id)
{
    for (size_t at = 0; at + 16 <= bytes; at += 8) {
        uint64_t word;
        memcpy(&word, damaged + at, 8);
        if (word == client_id) memcpy(damaged + at + 8, &parent_id, 8);
    }
}

/* The end of an order ends its children; a chain of them would go as deep as there are orders. */
static void test_chains_of_parents_are_refused(void)
{
    const uint64_t mine = 0x1234567800000000u;
    flow_kernel *kernel = make_kernel();
    flow_request requests[3];
    uint64_t ids[3];
    for (uint64_t i = 0; i < 3; i++)
        requests[i] = (flow_request){.client_id = mine + i, .qty_lots = 5, .side = 1};
    EXPECT(flow_place(kernel, 0, requests, 3, ids) == FLOW_OK);
    const size_t bytes = save(kernel, damaged);
    adopt(bytes, mine + 1, ids[0]);
    EXPECT(flow_load_state(kernel, damaged, bytes) == FLOW_OK);
    adopt(bytes, mine + 2, ids[1]);
    REFUSED(flow_load_state(kernel, damaged, bytes), FLOW_BAD_STATE);
    adopt(bytes, mine + 2, ids[2]);
    REFUSED(flow_load_state(kernel, damaged, bytes), FLOW_BAD_STATE);
    flow_destroy(kernel);
}

int main(int argc, char **argv)
{
    const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const uint64_t seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
    test_chains_of_parents_are_refused();
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        flow_config config = CONFIG;
        config.account_kind = (int64_t)(seed % 3);
        EXPECT(play(seed, &config) > ROUNDS / 10);
    }
    if (failures == 0) printf("damaged_states: all good\n");
    return failures != 0;
}
