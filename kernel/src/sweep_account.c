/* The account of one set: orders placed, fills, equity. The rules are those of the kernel's base
 * lane in an account without limits. */
#include "latency.h"
#include "sweep.h"

#define DAY_US 86400000000
#define FEE_BITS 30 /* of the largest fee rate */
#define MONEY_BITS_MAX 118
#define PRICE_BITS 52

static int64_t size_of(int64_t lots) { return lots < 0 ? -lots : lots; }

static u128 magnitude(i128 value) { return value < 0 ? -(u128)value : (u128)value; }

static int bit_length(u128 value)
{
    const uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    if (high) return 128 - __builtin_clzll(high);
    return low ? 64 - __builtin_clzll(low) : 0;
}

/* amount x part / whole for part <= whole, rounded toward zero. */
static i128 share_down(i128 amount, int64_t part, int64_t whole)
{
    const u128 size = magnitude(amount), up = (u128)(uint64_t)part, down = (u128)(uint64_t)whole;
    const u128 share =
        size <= UINT64_MAX ? size * up / down : size / down * up + size % down * up / down;
    return amount < 0 ? -(i128)share : (i128)share;
}

/* Rounded up to whole fee units, so against the trader for fees and for rebates alike. */
static i128 fee_of(const flow_config *c, i128 notional_atoms, int64_t rate_ppb)
{
    const u128 unit = (u128)(uint64_t)c->fee_unit_atoms, divisor = unit * FLOW_PPB;
    const u128 amount = (u128)notional_atoms;
    const u128 rate = (u128)(uint64_t)size_of(rate_ppb);
    const u128 up = rate_ppb >= 0 ? divisor - 1 : 0;
    u128 units;
    if (bit_length(amount) + FEE_BITS < 126)
        units = (amount * rate + up) / divisor;
    else
        units = amount / divisor * rate + (amount % divisor * rate + up) / divisor;
    return rate_ppb >= 0 ? (i128)(units * unit) : -(i128)(units * unit);
}

/* The rate of the tier that the own notional of the last 30 days has reached. */
static int64_t fee_rate(const visit *v, int64_t stream_us)
{
    const flow_config *c = &v->sweep->config;
    const flow_fee_tier *tier = &c->fee_tiers[0];
    if (!v->volume) return tier->taker_ppb;
    const int64_t today = stream_us / DAY_US;
    i128 sum = 0;
    for (int64_t day = max_i64(today - TIER_DAYS + 1, 0); day <= min_i64(today, v->volume->day);
         day++)
        sum += v->volume->day_atoms[day % TIER_DAYS];
    for (int64_t i = 1; i < c->fee_tier_count && i128_of(c->fee_tiers[i].from_atoms) <= sum; i++)
        tier = &c->fee_tiers[i];
    return tier->taker_ppb;
}

static void add_volume(tier_volume *of, int64_t stream_us, i128 notional_atoms)
{
    const int64_t today = stream_us / DAY_US;
    if (today - of->day >= TIER_DAYS) *of = (tier_volume){.day = today};
    while (of->day < today)
        of->day_atoms[++of->day % TIER_DAYS] = 0;
    of->day_atoms[today % TIER_DAYS] += notional_atoms;
}

void sweep_fill(visit *v, int64_t side, int64_t price_ticks, int64_t qty_lots, int64_t stream_us)
{
    book *b = v->book;
    const i128 lot_atoms = (i128)price_ticks * v->sweep->market.atoms_per_ticklot;
    const i128 notional = lot_atoms * qty_lots;
    const i128 fee = fee_of(&v->sweep->config, notional, fee_rate(v, stream_us));
    const int64_t held = size_of(b->position_lots);
    const int64_t closed = (b->position_lots < 0) == (side > 0) ? min_i64(qty_lots, held) : 0;
    if (closed > 0) {
        const i128 cost = closed == held ? b->cost_atoms : share_down(b->cost_atoms, closed, held);
        b->cost_atoms -= cost;
        b->realized_atoms -= side * lot_atoms * closed + cost;
    }
    b->cost_atoms += side * lot_atoms * (qty_lots - closed);
    b->position_lots += side * qty_lots;
    b->cash_atoms -= side * notional + fee;
    b->fees_atoms += fee;
    b->notional_atoms += notional;
    b->fill_count++;
    if (v->volume) add_volume(v->volume, stream_us, notional);
}

/* Take in the equity of the decision points up to `end`; the position has not changed since those
 * taken in before. */
void sweep_sample(visit *v, size_t end)
{
    const size_t start = v->sampled;
    book *b = v->book;
    if (start >= end) return;
    v->sampled = end;
    const i128 atoms = (i128)b->position_lots * v->sweep->market.atoms_per_ticklot;
    i128 low = b->cash_atoms, high = b->cash_atoms, fall = 0;
    if (atoms != 0) {
        const span s = chunk_marks(v->chunk, start, end);
        low += atoms * (atoms > 0 ? s.low_ticks : s.high_ticks);
        high += atoms * (atoms > 0 ? s.high_ticks : s.low_ticks);
        fall = atoms > 0 ? atoms * s.fall_ticks : -atoms * s.rise_ticks;
    }
    if (b->equity_max_atoms - low > fall) fall = b->equity_max_atoms - low;
    if (fall > b->drawdown_max_atoms) b->drawdown_max_atoms = fall;
    if (low < b->equity_min_atoms) b->equity_min_atoms = low;
    if (high > b->equity_max_atoms) b->equity_max_atoms = high;
    if (!v->equity_out) return;
    for (size_t i = start; i < end; i++)
        v->equity_out[i] = i128_pair(b->cash_atoms + atoms * v->chunk->mark_ticks[i]);
}

/* Whether every sum of money stays within 128 bits even if all open orders and this one fill at the
 * largest price; so fills cannot overflow. */
static bool has_room(const visit *v, int64_t more_lots)
{
    const book *b = v->book;
    const i128 lots = 2 * (i128)size_of(b->position_lots) + b->open_lots + more_lots;
    const int bits =
        PRICE_BITS + bit_length((u128)lots) + bit_length((u128)v->sweep->market.atoms_per_ticklot);
    return bits <= MONEY_BITS_MAX && bit_length((u128)lots) < 61 &&
           bit_length(magnitude(b->cash_atoms)) <= MONEY_BITS_MAX &&
           bit_length(magnitude(b->realized_atoms)) <= MONEY_BITS_MAX &&
           bit_length(magnitude(b->fees_atoms)) <= MONEY_BITS_MAX;
}

static flow_status check(const visit *v, i128 qty_lots, int64_t last_ticks)
{
    const flow_venue_rules *r = &v->sweep->market.rules;
    RETURN_IF(qty_lots > FLOW_QTY_LOTS_MAX, FLOW_BAD_QTY);
    const int64_t qty = (int64_t)qty_lots;
    RETURN_IF(qty % r->qty_step_lots != 0 || qty < r->qty_min_lots ||
                  (r->qty_max_lots > 0 && qty > r->qty_max_lots),
              FLOW_LOT_SIZE);
    RETURN_IF(r->market_qty_max_lots > 0 && qty > r->market_qty_max_lots, FLOW_MARKET_LOT_SIZE);
    RETURN_IF((i128)last_ticks * qty < r->notional_min_ticklots, FLOW_NOTIONAL);
    RETURN_IF(v->book->open_count >= v->sweep->config.orders_max, FLOW_CAPACITY);
    RETURN_IF(!has_room(v, qty), FLOW_OVERFLOW);
    return FLOW_OK;
}

/* Place a market order at a decision point of the chunk. */
flow_status sweep_place(visit *v, i128 change_lots, size_t decision)
{
    book *b = v->book;
    const i128 qty_lots = change_lots < 0 ? -change_lots : change_lots;
    const flow_status status = check(v, qty_lots, v->chunk->mark_ticks[decision]);
    RETURN_IF(status != FLOW_OK, status);
    const uint64_t id = ++b->order_count;
    const int64_t active_us =
        v->chunk->decisions[decision].ts_us + latency_of(&v->sweep->config, id, LEG_SUBMIT);
    v->takers[b->open_count] = (taker){
        .active_us = active_us,
        .qty_lots = (int64_t)qty_lots,
        .left_lots = (int64_t)qty_lots,
        .side = change_lots < 0 ? -1 : 1,
    };
    b->open_lots += qty_lots;
    b->wake_us = b->open_count > 0 ? min_i64(b->wake_us, active_us) : active_us;
    b->open_count++;
    return FLOW_OK;
}
