/* Cash, position, cost and fees, exact in 128 bits. */
#include "internal.h"

#define PPM 1000000
#define MONEY_BITS_MAX 120

static int bit_length(u128 value)
{
    uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    if (high) return 128 - __builtin_clzll(high);
    return low ? 64 - __builtin_clzll(low) : 0;
}

static u128 magnitude(i128 value) { return value < 0 ? -(u128)value : (u128)value; }

i128 account_notional(const flow_kernel *kernel, int64_t price_ticks, int64_t qty_lots)
{
    return (i128)price_ticks * qty_lots * kernel->config.atoms_per_ticklot;
}

/* Rounded up to whole fee units, so against the trader for fees and for rebates alike. */
i128 account_fee(const flow_kernel *kernel, i128 notional_atoms, flow_role role)
{
    int64_t rate = role == FLOW_MAKER ? kernel->config.maker_fee_ppm : kernel->config.taker_fee_ppm;
    i128 unit = kernel->config.fee_unit_atoms;
    i128 divisor = unit * PPM;
    i128 size = rate < 0 ? -rate : rate;
    /* Split so that no product leaves 128 bits. */
    i128 whole = notional_atoms / divisor * size;
    i128 rest = notional_atoms % divisor * size;
    if (rate < 0) return -(whole + rest / divisor) * unit;
    return (whole + (rest + divisor - 1) / divisor) * unit;
}

/* The part of a cost that belongs to `closed` of `held` lots, rounded toward zero. */
static i128 cost_share(i128 cost, int64_t closed, int64_t held)
{
    u128 size = magnitude(cost);
    u128 whole = size / (uint64_t)held * (uint64_t)closed;
    u128 rest = size % (uint64_t)held * (uint64_t)closed / (uint64_t)held;
    i128 share = (i128)(whole + rest);
    return cost < 0 ? -share : share;
}

void account_fill(flow_kernel *kernel, int8_t side, int64_t price_ticks, int64_t qty_lots,
                  i128 fee_atoms)
{
    account *a = &kernel->core.account;
    int64_t held = a->position_lots < 0 ? -a->position_lots : a->position_lots;
    bool closing = (a->position_lots > 0 && side < 0) || (a->position_lots < 0 && side > 0);
    int64_t closed = closing ? min_i64(qty_lots, held) : 0;

    i128 flow = -side * account_notional(kernel, price_ticks, qty_lots);
    a->cash_atoms += flow - fee_atoms;
    a->fees_atoms += fee_atoms;
    if (closed > 0) {
        i128 closed_flow = -side * account_notional(kernel, price_ticks, closed);
        i128 removed = closed == held ? a->cost_atoms : cost_share(a->cost_atoms, closed, held);
        a->cost_atoms -= removed;
        a->realized_atoms += closed_flow - removed;
        flow -= closed_flow;
    }
    a->cost_atoms -= flow;
    a->position_lots += side * qty_lots;
}

void account_point(flow_kernel *kernel, int64_t ts_us)
{
    const core *c = &kernel->core;
    i128 value = account_notional(kernel, kernel->flow.last_ticks, c->account.position_lots);
    kernel->equity.items[kernel->equity.tail++] = (flow_equity){
        .input = c->input,
        .ts_us = ts_us,
        .position_lots = c->account.position_lots,
        .mark_ticks = kernel->flow.last_ticks,
        .equity_atoms = i128_pair(c->account.cash_atoms + value),
        .realized_atoms = i128_pair(c->account.realized_atoms),
        .fees_atoms = i128_pair(c->account.fees_atoms),
    };
}

/*
 * Whether every sum of money stays below 2^124 even if all open orders and more_lots fill at the
 * largest price. Checked when an order is placed, so that fills cannot overflow.
 */
bool account_has_room(const flow_kernel *kernel, int64_t more_lots)
{
    const account *a = &kernel->core.account;
    i128 sum = (i128)magnitude(a->position_lots) + more_lots;
    for (size_t i = 0; i < kernel->order_count; i++)
        sum += kernel->orders[i].remaining_lots;
    u128 lots = magnitude(sum);
    int bits = bit_length(FLOW_PRICE_TICKS_MAX) + bit_length(lots) +
               bit_length((u128)kernel->config.atoms_per_ticklot);
    return bits <= MONEY_BITS_MAX && bit_length(lots) < 62 &&
           bit_length(magnitude(a->cash_atoms)) <= MONEY_BITS_MAX &&
           bit_length(magnitude(a->realized_atoms)) <= MONEY_BITS_MAX &&
           bit_length(magnitude(a->fees_atoms)) <= MONEY_BITS_MAX;
}
