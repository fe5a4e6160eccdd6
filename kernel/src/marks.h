/* Sweeps, absorption and exhaustion; flow_mark_kind says what they are. */
#ifndef FLOW_MARKS_H
#define FLOW_MARKS_H

#include "series.h"

typedef struct sweep_run {
    uint64_t input; /* of its first print */
    int64_t ts_us;
    int64_t first_ticks;
    int64_t last_ticks;
    int64_t lots;
    int64_t level_count; /* 0: no run */
    int8_t side;
} sweep_run;

typedef struct watched_level {
    uint64_t input;
    int64_t ts_us;
    int64_t price_ticks;
    int64_t lots; /* 0: none is watched */
} watched_level;

typedef struct extreme_run {
    uint64_t input; /* of the bubble at the extreme; 0: no run */
    int64_t ts_us;
    int64_t first_ticks;
    int64_t last_ticks;
    int64_t lots;
    int64_t level_count;
} extreme_run;

typedef struct marks {
    const flow_orderflow_config *config;
    sweep_run sweep;
    watched_level levels[2]; /* [0] buyers', [1] sellers' */
    extreme_run extremes[2];
    FLOW_OUTBOX(flow_mark) out;
} marks;

bool marks_config_is_valid(const flow_orderflow_config *config);
bool marks_init(marks *m, const flow_orderflow_config *config);
void marks_free(marks *m);
bool marks_are_on(const flow_orderflow_config *config);
size_t marks_room(const marks *m);

/* A bubble has closed at an input; call this before marks_print of the same input. */
void marks_bubble(marks *m, const flow_bubble *bubble, uint64_t input, int64_t stream_us);
void marks_print(marks *m, const print *trade, uint64_t input, int64_t stream_us);
void marks_clock(marks *m, uint64_t input, int64_t stream_us);
void marks_gap(marks *m, uint64_t input, int64_t stream_us);
void marks_end(marks *m, uint64_t input, int64_t stream_us);

void marks_save(const marks *m, writer *w);
bool marks_load(marks *m, reader *r, int64_t stream_us);

#endif
