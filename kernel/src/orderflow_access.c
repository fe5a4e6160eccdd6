/* What callers take from order flow and ask of it. */
#include <string.h> /* memcpy */

#include "internal.h"

#define TAKE(box, out, capacity, count_out) \
    do { \
        size_t count = (box).tail - (box).head; \
        if (count > (capacity)) count = (capacity); \
        if (count) memcpy((out), (box).items + (box).head, count * sizeof *(out)); \
        (box).head += count; \
        if ((box).head == (box).tail) (box).head = (box).tail = 0; \
        *(count_out) = count; \
    } while (0)

#define DEFINE_TAKE(function, type, box) \
    flow_status function(flow_kernel *k, uint32_t market_index, type *out, size_t capacity, \
                         size_t *count_out) \
    { \
        RETURN_IF(!k || !count_out || (!out && capacity), FLOW_NULL_POINTER); \
        RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET); \
        TAKE(k->markets[market_index].flow.box, out, capacity, count_out); \
        return FLOW_OK; \
    }

#define DEFINE_TAKE_OF_SERIES(function, type, box) \
    flow_status function(flow_kernel *k, uint32_t market_index, size_t which, type *out, \
                         size_t capacity, size_t *count_out) \
    { \
        RETURN_IF(!k || !count_out || (!out && capacity), FLOW_NULL_POINTER); \
        RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET); \
        orderflow *f = &k->markets[market_index].flow; \
        RETURN_IF(which >= f->series_count, FLOW_BAD_SERIES); \
        TAKE(f->series[which].box, out, capacity, count_out); \
        return FLOW_OK; \
    }

DEFINE_TAKE_OF_SERIES(flow_take_bars, flow_bar, bars)
DEFINE_TAKE_OF_SERIES(flow_take_footprints, flow_footprint, footprints)
DEFINE_TAKE_OF_SERIES(flow_take_footprint_rows, flow_footprint_row, rows)
DEFINE_TAKE(flow_take_bubbles, flow_bubble, bubbles)
DEFINE_TAKE(flow_take_marks, flow_mark, marks.out)

flow_status flow_get_bar(const flow_kernel *k, uint32_t market_index, size_t which, flow_bar *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(which >= k->markets[market_index].flow.series_count, FLOW_BAD_SERIES);
    *out = k->markets[market_index].flow.series[which].bar;
    return FLOW_OK;
}

flow_status flow_get_footprint(const flow_kernel *k, uint32_t market_index, size_t which,
                               flow_footprint *out, flow_footprint_row *rows, size_t capacity,
                               size_t *count_out)
{
    RETURN_IF(!k || !out || !count_out || (!rows && capacity), FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(which >= k->markets[market_index].flow.series_count, FLOW_BAD_SERIES);
    const series *s = &k->markets[market_index].flow.series[which];
    *out = (flow_footprint){0};
    *count_out = 0;
    RETURN_IF(s->bar.trade_count == 0 || !series_has_footprints(s), FLOW_OK);
    RETURN_IF(capacity < price_table_row_count(&s->table, s->bar.low_ticks, s->bar.high_ticks),
              FLOW_SMALL_BUFFER);
    series_footprint(s, out, rows);
    *count_out = (size_t)out->row_count;
    return FLOW_OK;
}

flow_status flow_get_profile(const flow_kernel *k, uint32_t market_index, flow_profile_row *out,
                             size_t capacity, size_t *count_out)
{
    RETURN_IF(!k || !count_out || (!out && capacity), FLOW_NULL_POINTER);
    *count_out = 0;
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(capacity < orderflow_profile_row_count(&k->markets[market_index].flow),
              FLOW_SMALL_BUFFER);
    orderflow_copy_profile(&k->markets[market_index].flow, out);
    *count_out = orderflow_profile_row_count(&k->markets[market_index].flow);
    return FLOW_OK;
}

flow_status flow_value_area_of(const flow_profile_row *rows, size_t count, int64_t area_ppm,
                               int64_t *scratch, flow_value_area *out)
{
    RETURN_IF((!rows && count) || (!scratch && count) || !out, FLOW_NULL_POINTER);
    *out = (flow_value_area){0};
    RETURN_IF(area_ppm < 1 || area_ppm > 1000000, FLOW_BAD_CONFIG);
    RETURN_IF(count == 0, FLOW_OK);
    i128 total = 0;
    for (size_t i = 0; i < count; i++) {
        RETURN_IF(rows[i].buy_lots < 0 || rows[i].sell_lots < 0, FLOW_BAD_QTY);
        total += (i128)rows[i].buy_lots + rows[i].sell_lots;
        RETURN_IF(total > INT64_MAX, FLOW_OVERFLOW);
        scratch[i] = rows[i].buy_lots + rows[i].sell_lots;
    }
    const value_area area = value_area_of(scratch, count, area_ppm);
    *out = (flow_value_area){
        .poc_ticks = rows[area.poc].price_ticks,
        .low_ticks = rows[area.low].price_ticks,
        .high_ticks = rows[area.high].price_ticks,
        .area_lots = area.area_lots,
        .total_lots = area.total_lots,
    };
    return FLOW_OK;
}

flow_status flow_get_session(const flow_kernel *k, uint32_t market_index, flow_session *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    orderflow_read_session(&k->markets[market_index].flow, k->core.stream_us, out);
    return FLOW_OK;
}

flow_status flow_anchor(flow_kernel *k, uint32_t market_index, size_t anchor)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(anchor >= FLOW_ANCHORS_MAX || !k->markets[market_index].flow.config->vwap_on,
              FLOW_BAD_ANCHOR);
    RETURN_IF(k->core.ended, FLOW_ENDED);
    orderflow_anchor(&k->markets[market_index].flow, anchor, k->core.input, k->core.stream_us);
    return FLOW_OK;
}
