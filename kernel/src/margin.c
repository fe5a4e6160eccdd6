/* What a mark price does to leveraged positions: liquidation and funding. */
#include "internal.h"

/* Whether margin and open result have shrunk to what the venue wants at least. */
static bool is_due(const market *m, int lane)
{
    const position *p = &m->positions[lane];
    if (p->lots == 0) return false;
    const i128 value = money_notional(m, m->mark_ticks, p->lots);
    const i128 maintenance =
        money_share_up(value < 0 ? -value : value, m->config.maintenance_ppm, FLOW_PPM);
    return p->margin_atoms + value - p->cost_atoms <= maintenance;
}

static void liquidate(flow_kernel *k, uint32_t market_index, int lane)
{
    market *m = &k->markets[market_index];
    position *p = &m->positions[lane];
    const int64_t lots = p->lots;
    const int64_t size = lots < 0 ? -lots : lots;
    /* Closing for this much loses the margin to the last atom. */
    const i128 flow = p->cost_atoms - p->margin_atoms;
    const i128 paid = flow < 0 ? -flow : flow;
    account_close_for(k, m, lane, flow);
    k->fills.items[k->fills.tail++] = (flow_fill){
        .input = k->core.input,
        .ts_us = k->core.stream_us,
        .price_ticks = (int64_t)(paid / ((i128)size * m->config.atoms_per_ticklot)),
        .qty_lots = size,
        .market = market_index,
        .side = lots > 0 ? -1 : 1,
        .role = FLOW_LIQUIDATED,
        .lane = (int8_t)lane,
    };
    if (lane == FLOW_BASE) account_point(k, market_index, k->core.stream_us);
    for (size_t i = 0; i < k->order_count; i++)
        if (k->orders[i].request.market == market_index)
            links_end_lane(k, &k->orders[i], lane, k->core.stream_us, FLOW_ORDER_CANCELED,
                           FLOW_BY_LIQUIDATION, NULL);
}

/* Close what the mark price has ruined. Returns whether the base lane was. */
bool margin_liquidate(flow_kernel *k, uint32_t market_index)
{
    if (k->config.account_kind != FLOW_ACCOUNT_ISOLATED) return false;
    bool base = false;
    FOR_LANES(k, l)
    {
        if (!is_due(&k->markets[market_index], l)) continue;
        liquidate(k, market_index, l);
        base |= l == FLOW_BASE;
    }
    return base;
}

/* Longs pay shorts at a positive rate; rounded up against whoever pays or receives. */
void margin_fund(flow_kernel *k, uint32_t market_index, int64_t rate_ppb)
{
    const market *m = &k->markets[market_index];
    FOR_LANES(k, l)
    {
        const int64_t lots = m->positions[l].lots;
        if (lots == 0) continue;
        const i128 value = money_notional(m, m->mark_ticks, lots < 0 ? -lots : lots);
        const i128 paid = money_fee(k, value, lots > 0 ? rate_ppb : -rate_ppb);
        k->core.accounts[l].cash_atoms -= paid;
        k->core.accounts[l].funding_atoms += paid;
    }
    if (m->positions[FLOW_BASE].lots != 0) account_point(k, market_index, k->core.stream_us);
}
