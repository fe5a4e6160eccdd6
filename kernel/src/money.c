/* Amounts of money: notional, shares, fees; exact in 128 bits but for the named roundings. */
#include "internal.h"

#define MONEY_BITS_MAX 118
#define PRICE_BITS 52 /* of the largest price, with step and slip */
#define DAY_US 86400000000

static int bit_length(u128 value)
{
    uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    if (high) return 128 - __builtin_clzll(high);
    return low ? 64 - __builtin_clzll(low) : 0;
}

static u128 magnitude(i128 value) { return value < 0 ? -(u128)value : (u128)value; }

i128 money_notional(const market *m, int64_t price_ticks, int64_t qty_lots)
{
    return (i128)price_ticks * qty_lots * m->config.atoms_per_ticklot;
}

/* amount x numerator / denominator for amounts of 0 or more, rounded up; split so that no product
 * leaves 128 bits. */
i128 money_share_up(i128 amount, int64_t numerator, i128 denominator)
{
    i128 whole = amount / denominator * numerator;
    i128 rest = amount % denominator * numerator;
    return whole + (rest + denominator - 1) / denominator;
}

/* The part of an amount that belongs to `part` of `whole`, rounded toward zero. */
i128 money_share_down(i128 amount, int64_t part, int64_t whole)
{
    u128 size = magnitude(amount);
    u128 share = size / (uint64_t)whole * (uint64_t)part +
                 size % (uint64_t)whole * (uint64_t)part / (uint64_t)whole;
    return amount < 0 ? -(i128)share : (i128)share;
}

/* Rounded up to whole fee units, so against the trader for fees and for rebates alike. */
i128 money_fee(const flow_kernel *k, i128 notional_atoms, int64_t rate_ppb)
{
    i128 unit = k->config.fee_unit_atoms;
    i128 divisor = unit * FLOW_PPB;
    if (rate_ppb >= 0) return money_share_up(notional_atoms, rate_ppb, divisor) * unit;
    i128 whole = notional_atoms / divisor * -rate_ppb;
    i128 rest = notional_atoms % divisor * -rate_ppb;
    return -(whole + rest / divisor) * unit;
}

/* The rate of the tier that the volume so far has reached. */
int64_t money_fee_rate(const flow_kernel *k, flow_role role)
{
    const flow_config *c = &k->config;
    const volume *v = &k->core.volume;
    const int64_t today = k->core.stream_us / DAY_US;
    i128 sum = 0;
    for (int64_t day = max_i64(today - VOLUME_DAYS + 1, 0); day <= min_i64(today, v->day); day++)
        sum += v->day_atoms[day % VOLUME_DAYS];
    const flow_fee_tier *tier = &c->fee_tiers[0];
    for (int64_t i = 1; i < c->fee_tier_count && i128_of(c->fee_tiers[i].from_atoms) <= sum; i++)
        tier = &c->fee_tiers[i];
    return role == FLOW_MAKER ? tier->maker_ppb : tier->taker_ppb;
}

void money_add_volume(flow_kernel *k, i128 notional_atoms)
{
    volume *v = &k->core.volume;
    const int64_t today = k->core.stream_us / DAY_US;
    if (today - v->day >= VOLUME_DAYS) *v = (volume){.day = today};
    while (v->day < today)
        v->day_atoms[++v->day % VOLUME_DAYS] = 0;
    v->day_atoms[today % VOLUME_DAYS] += notional_atoms;
}

/* Lots that the open orders of a market ask for in all. */
i128 money_lots_wanted(const flow_kernel *k, const market *m)
{
    i128 sum = 0;
    for (size_t i = 0; i < k->order_count; i++)
        if (&k->markets[k->orders[i].request.market] == m) sum += k->orders[i].request.qty_lots;
    return sum;
}

/*
 * Whether every sum of money stays within 128 bits even if wanted_lots, those of all open orders
 * and more, fill at the largest price. Checked when an order is placed, so that fills cannot
 * overflow.
 */
bool money_has_room(const flow_kernel *k, const market *m, i128 wanted_lots)
{
    FOR_LANES(k, l)
    {
        const account *a = &k->core.accounts[l];
        /* Positions can be closed by orders without a quantity, so they count twice. */
        const u128 held = magnitude(m->positions[l].lots);
        const u128 sum = 2 * held + magnitude(wanted_lots);
        const int bits =
            PRICE_BITS + bit_length(sum) + bit_length((u128)m->config.atoms_per_ticklot);
        if (bits > MONEY_BITS_MAX || bit_length(sum) >= 61 ||
            bit_length(magnitude(a->cash_atoms)) > MONEY_BITS_MAX ||
            bit_length(magnitude(a->realized_atoms)) > MONEY_BITS_MAX ||
            bit_length(magnitude(a->fees_atoms)) > MONEY_BITS_MAX ||
            bit_length(magnitude(a->funding_atoms)) > MONEY_BITS_MAX)
            return false;
    }
    return true;
}
