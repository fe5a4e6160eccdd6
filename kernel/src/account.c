/* Positions, cash and cost of each lane, and the check of its books. */
#include "internal.h"

static int64_t size_of(int64_t lots) { return lots < 0 ? -lots : lots; }

/* Move a position by lots for a flow of money: cost and margin of a closed part go with it. */
static void move(flow_kernel *k, market *m, int lane, int side, int64_t lots, i128 flow_atoms)
{
    account *a = &k->core.accounts[lane];
    position *p = &m->positions[lane];
    const int64_t held = size_of(p->lots);
    const int64_t closed = p->lots * side < 0 ? min_i64(lots, held) : 0;
    i128 opening = flow_atoms;
    if (closed > 0) {
        const i128 closing = closed == lots ? flow_atoms : flow_atoms / lots * closed;
        const i128 cost =
            closed == held ? p->cost_atoms : money_share_down(p->cost_atoms, closed, held);
        const i128 margin =
            closed == held ? p->margin_atoms : money_share_down(p->margin_atoms, closed, held);
        p->cost_atoms -= cost;
        p->margin_atoms -= margin;
        a->realized_atoms += closing - cost;
        opening -= closing;
    }
    p->cost_atoms -= opening;
    if (k->config.account_kind == FLOW_ACCOUNT_ISOLATED)
        p->margin_atoms += money_share_up(opening < 0 ? -opening : opening, 1, m->config.leverage);
    p->lots += side * lots;
    *(side > 0 ? &p->bought_lots : &p->sold_lots) += lots;
    a->cash_atoms += flow_atoms;
}

void account_fill(flow_kernel *k, market *m, int lane, int side, int64_t price_ticks,
                  int64_t qty_lots, i128 fee_atoms)
{
    account *a = &k->core.accounts[lane];
    move(k, m, lane, side, qty_lots, -side * money_notional(m, price_ticks, qty_lots));
    a->cash_atoms -= fee_atoms;
    a->fees_atoms += fee_atoms;
}

/* Close all of a position for a flow of money. */
void account_close_for(flow_kernel *k, market *m, int lane, i128 flow_atoms)
{
    const int64_t lots = m->positions[lane].lots;
    move(k, m, lane, lots > 0 ? -1 : 1, size_of(lots), flow_atoms);
}

static i128 value_of(const market *m, int lane)
{
    return money_notional(m, prices_mark(m), m->positions[lane].lots);
}

i128 account_unrealized(const flow_kernel *k, int lane)
{
    i128 sum = 0;
    for (size_t i = 0; i < k->market_count; i++)
        sum += value_of(&k->markets[i], lane) - k->markets[i].positions[lane].cost_atoms;
    return sum;
}

i128 account_equity(const flow_kernel *k, int lane)
{
    i128 sum = k->core.accounts[lane].cash_atoms;
    for (size_t i = 0; i < k->market_count; i++)
        sum += value_of(&k->markets[i], lane);
    return sum;
}

/* What new orders may use. */
i128 account_free(const flow_kernel *k, int lane)
{
    const account *a = &k->core.accounts[lane];
    if (k->config.account_kind == FLOW_ACCOUNT_FREE) return account_equity(k, lane);
    if (k->config.account_kind == FLOW_ACCOUNT_SPOT)
        return a->cash_atoms - limits_cash_wanted(k, lane);
    i128 wallet = i128_of(k->config.initial_cash_atoms) + a->realized_atoms - a->fees_atoms -
                  a->funding_atoms;
    for (size_t i = 0; i < k->market_count; i++)
        wallet -= k->markets[i].positions[lane].margin_atoms;
    return wallet;
}

void account_point(flow_kernel *k, uint32_t market_index, int64_t ts_us)
{
    const market *m = &k->markets[market_index];
    const account *a = &k->core.accounts[FLOW_BASE];
    const i128 base = account_equity(k, FLOW_BASE);
    const bool all = k->config.lane_count == FLOW_LANES;
    k->equity.items[k->equity.tail++] = (flow_equity){
        .input = k->core.input,
        .ts_us = ts_us,
        .market = market_index,
        .position_lots = m->positions[FLOW_BASE].lots,
        .mark_ticks = prices_mark(m),
        .equity_atoms = i128_pair(base),
        .optimistic_atoms = i128_pair(all ? account_equity(k, FLOW_OPTIMISTIC) : base),
        .pessimistic_atoms = i128_pair(all ? account_equity(k, FLOW_PESSIMISTIC) : base),
        .realized_atoms = i128_pair(a->realized_atoms),
        .fees_atoms = i128_pair(a->fees_atoms),
        .funding_atoms = i128_pair(a->funding_atoms),
    };
}

/* Add the books up again from what was kept apart. */
bool account_books_balance(const flow_kernel *k)
{
    FOR_LANES(k, l)
    {
        const account *a = &k->core.accounts[l];
        i128 cash = i128_of(k->config.initial_cash_atoms) + a->realized_atoms - a->fees_atoms -
                    a->funding_atoms;
        for (size_t i = 0; i < k->market_count; i++) {
            const position *p = &k->markets[i].positions[l];
            cash -= p->cost_atoms;
            if (p->lots != p->bought_lots - p->sold_lots) return false;
            if (p->lots == 0 && (p->cost_atoms != 0 || p->margin_atoms != 0)) return false;
        }
        if (cash != a->cash_atoms) return false;
        if (account_equity(k, l) - i128_of(k->config.initial_cash_atoms) !=
            a->realized_atoms + account_unrealized(k, l) - a->fees_atoms - a->funding_atoms)
            return false;
    }
    return true;
}
