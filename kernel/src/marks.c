/* Sweeps, absorption and exhaustion, one print or closed bubble at a time. */
#include <stdlib.h> /* calloc, free */

#include "marks.h"

#define MARKS_CAPACITY 4096
/* Exhaustion of one side, a sweep, absorption of one side: no print tells more. */
#define MARKS_AT_ONCE 4

static const int8_t SIDES[2] = {1, -1};

static bool span_is_valid(int64_t us) { return us >= 0 && us <= FLOW_TS_US_MAX; }

static bool turn_is_valid(int64_t on, int64_t ticks)
{
    return on == 0 || (ticks >= 1 && ticks <= FLOW_PRICE_TICKS_MAX);
}

bool marks_config_is_valid(const flow_orderflow_config *c)
{
    return c->sweep_level_count >= 0 && c->sweep_level_count != 1 &&
           span_is_valid(c->sweep_window_us) && c->absorption_lots >= 0 &&
           span_is_valid(c->absorption_window_us) &&
           turn_is_valid(c->absorption_lots, c->absorption_ticks) && c->exhaustion_count >= 0 &&
           turn_is_valid(c->exhaustion_count, c->exhaustion_ticks) &&
           (c->exhaustion_count == 0 || c->bubbles_on);
}

bool marks_are_on(const flow_orderflow_config *c)
{
    return c->sweep_level_count > 0 || c->absorption_lots > 0 || c->exhaustion_count > 0;
}

bool marks_init(marks *m, const flow_orderflow_config *config)
{
    *m = (marks){.config = config};
    if (!marks_are_on(config)) return true;
    m->out.capacity = MARKS_CAPACITY;
    m->out.items = calloc(m->out.capacity, sizeof *m->out.items);
    return m->out.items != NULL;
}

void marks_free(marks *m)
{
    free(m->out.items);
    *m = (marks){0};
}

size_t marks_room(const marks *m)
{
    if (m->out.capacity == 0) return SIZE_MAX;
    return (m->out.capacity - m->out.tail) / MARKS_AT_ONCE;
}

static void tell(marks *m, flow_mark mark) { m->out.items[m->out.tail++] = mark; }

static void end_sweep(marks *m, uint64_t input, int64_t stream_us)
{
    const sweep_run *run = &m->sweep;
    if (run->level_count > 0 && run->level_count >= m->config->sweep_level_count)
        tell(m, (flow_mark){
                    .input = run->input,
                    .known_input = input,
                    .ts_us = run->ts_us,
                    .known_us = stream_us,
                    .first_ticks = run->first_ticks,
                    .last_ticks = run->last_ticks,
                    .lots = run->lots,
                    .level_count = run->level_count,
                    .kind = FLOW_MARK_SWEEP,
                    .side = run->side,
                });
    m->sweep = (sweep_run){0};
}

static void sweep_print(marks *m, const print *trade, uint64_t input, int64_t stream_us)
{
    sweep_run *run = &m->sweep;
    const int64_t price = trade->price_ticks;
    const bool goes_on = run->level_count > 0 && trade->side == run->side &&
                         stream_us - run->ts_us <= m->config->sweep_window_us &&
                         (price - run->last_ticks) * trade->side >= 0;
    if (!goes_on) {
        end_sweep(m, input, stream_us);
        *run = (sweep_run){
            .input = input, .ts_us = stream_us, .first_ticks = price, .side = trade->side};
    }
    run->level_count += run->level_count == 0 || price != run->last_ticks;
    run->last_ticks = price;
    run->lots += trade->qty_lots;
}

static void absorption_print(marks *m, int which, const print *trade, uint64_t input,
                             int64_t stream_us)
{
    const flow_orderflow_config *c = m->config;
    watched_level *level = &m->levels[which];
    const int8_t side = SIDES[which];
    if (level->lots > 0) {
        const int64_t beyond = (trade->price_ticks - level->price_ticks) * side;
        if (beyond > 0 || stream_us - level->ts_us > c->absorption_window_us) {
            level->lots = 0;
        } else if (-beyond >= c->absorption_ticks) {
            if (level->lots >= c->absorption_lots)
                tell(m, (flow_mark){
                            .input = level->input,
                            .known_input = input,
                            .ts_us = level->ts_us,
                            .known_us = stream_us,
                            .first_ticks = level->price_ticks,
                            .last_ticks = level->price_ticks,
                            .lots = level->lots,
                            .level_count = 1,
                            .kind = FLOW_MARK_ABSORPTION,
                            .side = side,
                        });
            level->lots = 0;
        } else if (beyond == 0 && trade->side == side) {
            level->lots += trade->qty_lots;
        }
    }
    if (level->lots == 0) {
        *level = (watched_level){0};
        if (trade->side == side)
            *level = (watched_level){input, stream_us, trade->price_ticks, trade->qty_lots};
    }
}

static void extend_extremes(extreme_run *run, const flow_bubble *bubble, int8_t side)
{
    if (run->input == 0) {
        *run = (extreme_run){.first_ticks = bubble->last_ticks};
    } else if ((bubble->last_ticks - run->last_ticks) * side <= 0) {
        return;
    } else if (bubble->qty_lots < run->lots) {
        if (run->level_count++ == 0) run->first_ticks = run->last_ticks;
    } else {
        run->level_count = 0;
        run->first_ticks = bubble->last_ticks;
    }
    run->input = bubble->input;
    run->ts_us = bubble->ts_us;
    run->last_ticks = bubble->last_ticks;
    run->lots = bubble->qty_lots;
}

void marks_bubble(marks *m, const flow_bubble *bubble, uint64_t input, int64_t stream_us)
{
    const flow_orderflow_config *c = m->config;
    if (c->exhaustion_count == 0) return;
    const int own = bubble->side > 0 ? 0 : 1;
    extreme_run *other = &m->extremes[!own];
    const int8_t other_side = SIDES[!own];
    if (other->input != 0 &&
        (other->last_ticks - bubble->last_ticks) * other_side >= c->exhaustion_ticks) {
        if (other->level_count >= c->exhaustion_count)
            tell(m, (flow_mark){
                        .input = other->input,
                        .known_input = input,
                        .ts_us = other->ts_us,
                        .known_us = stream_us,
                        .first_ticks = other->first_ticks,
                        .last_ticks = other->last_ticks,
                        .lots = other->lots,
                        .level_count = other->level_count,
                        .kind = FLOW_MARK_EXHAUSTION,
                        .side = other_side,
                    });
        *other = (extreme_run){0};
    }
    extend_extremes(&m->extremes[own], bubble, bubble->side);
}

void marks_print(marks *m, const print *trade, uint64_t input, int64_t stream_us)
{
    if (m->config->sweep_level_count > 0) sweep_print(m, trade, input, stream_us);
    if (m->config->absorption_lots > 0) {
        absorption_print(m, 0, trade, input, stream_us);
        absorption_print(m, 1, trade, input, stream_us);
    }
}

void marks_clock(marks *m, uint64_t input, int64_t stream_us)
{
    if (stream_us - m->sweep.ts_us > m->config->sweep_window_us) end_sweep(m, input, stream_us);
}

void marks_gap(marks *m, uint64_t input, int64_t stream_us)
{
    end_sweep(m, input, stream_us);
    for (int i = 0; i < 2; i++) {
        m->levels[i] = (watched_level){0};
        m->extremes[i] = (extreme_run){0};
    }
}

void marks_end(marks *m, uint64_t input, int64_t stream_us) { end_sweep(m, input, stream_us); }

void marks_save(const marks *m, writer *w)
{
    const sweep_run *run = &m->sweep;
    if (!marks_are_on(m->config)) return;
    put(w, run->input);
    put_i64(w, run->ts_us);
    put_i64(w, run->first_ticks);
    put_i64(w, run->last_ticks);
    put_i64(w, run->lots);
    put_i64(w, run->level_count);
    put_i64(w, run->side);
    for (int i = 0; i < 2; i++) {
        const watched_level *level = &m->levels[i];
        put(w, level->input);
        put_i64(w, level->ts_us);
        put_i64(w, level->price_ticks);
        put_i64(w, level->lots);
        const extreme_run *extreme = &m->extremes[i];
        put(w, extreme->input);
        put_i64(w, extreme->ts_us);
        put_i64(w, extreme->first_ticks);
        put_i64(w, extreme->last_ticks);
        put_i64(w, extreme->lots);
        put_i64(w, extreme->level_count);
    }
}

bool marks_load(marks *m, reader *r, int64_t stream_us)
{
    sweep_run *run = &m->sweep;
    if (!marks_are_on(m->config)) return true;
    run->input = get(r);
    run->ts_us = get_between(r, 0, stream_us);
    run->first_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
    run->last_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
    run->lots = get_between(r, 0, INT64_MAX);
    run->level_count = get_between(r, 0, INT64_MAX);
    run->side = (int8_t)get_between(r, -1, 1);
    for (int i = 0; i < 2; i++) {
        watched_level *level = &m->levels[i];
        level->input = get(r);
        level->ts_us = get_between(r, 0, stream_us);
        level->price_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        level->lots = get_between(r, 0, INT64_MAX);
        extreme_run *extreme = &m->extremes[i];
        extreme->input = get(r);
        extreme->ts_us = get_between(r, 0, stream_us);
        extreme->first_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        extreme->last_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        extreme->lots = get_between(r, 0, INT64_MAX);
        extreme->level_count = get_between(r, 0, INT64_MAX);
    }
    return !r->bad;
}
