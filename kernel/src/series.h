/* One series of bars, with a footprint of each bar when it is asked for. */
#ifndef FLOW_SERIES_H
#define FLOW_SERIES_H

#include "price_table.h"

typedef struct print {
    int64_t ts_us;
    int64_t price_ticks;
    int64_t qty_lots;
    int8_t side;
} print;

/* How footprints of every series are made. */
typedef struct footprint_rules {
    int64_t rows_max;
    int64_t area_ppm;
    int64_t imbalance_ppm;
    int64_t imbalance_min_lots;
    int64_t stack_count;
} footprint_rules;

typedef struct series {
    flow_series_config config;
    footprint_rules rules;
    flow_bar bar;           /* the open one; trade_count 0: none, and only sequence counts */
    int64_t buy_count;      /* buyers' prints of the open bar; kept for series that measure them */
    int64_t max_delta_lots; /* of the open bar; kept with a footprint, as the table is */
    int64_t min_delta_lots;
    price_table table;
    int64_t closed_buy_lots; /* of closed bars */
    int64_t closed_sell_lots;
    i128 closed_notional;

    FLOW_OUTBOX(flow_bar) bars;
    FLOW_OUTBOX(flow_footprint) footprints;
    FLOW_OUTBOX(flow_footprint_row) rows;
} series;

bool series_config_is_valid(const flow_series_config *config);
bool series_init(series *s, const flow_series_config *config, const footprint_rules *rules);
void series_free(series *s);

/* How many prints certainly find room for the bars they close. */
size_t series_room(const series *s);
bool series_is_drained(const series *s);

void series_print(series *s, const print *trade, uint64_t input, int64_t stream_us);
void series_clock(series *s, int64_t stream_us);

/* Start the next bar with a print, whose volume is not added yet. */
void series_open(series *s, int64_t price_ticks, uint64_t input, int64_t stream_us);

/* Put the open bar and its footprint out, if there is one. */
void series_close(series *s);

/* The footprint of the open bar, which must exist; room for each row and one more. */
void series_footprint(const series *s, flow_footprint *out, flow_footprint_row *rows);

/* Put out the footprint of a closed bar, with the extremes of its delta, and empty the table. */
void series_put_footprint(series *s, const flow_bar *bar, int64_t most, int64_t least);

void series_save(const series *s, writer *w);
bool series_load(series *s, reader *r, int64_t stream_us);

static inline bool series_counts_buyers(const series *s)
{
    return s->config.kind == FLOW_SERIES_TICK_IMBALANCE || s->config.kind == FLOW_SERIES_TICK_RUN;
}

static inline bool series_has_footprints(const series *s) { return s->config.row_ticks > 0; }

#endif
