/*
 * Numbers, limits and statuses of flow_kernel.
 *
 * Units
 *   ts_us        microseconds since 1970 UTC
 *   price_ticks  10^-price_decimals of the quote asset, 1 .. FLOW_PRICE_TICKS_MAX
 *   qty_lots     10^-qty_decimals of the base asset, 1 .. FLOW_QTY_LOTS_MAX
 *   *_ticklots   price_ticks x qty_lots
 *   *_atoms      money; one ticklot is atoms_per_ticklot atoms; 128 bits wide
 *   side         +1 buyer was the aggressor (or: buy), -1 seller was (or: sell)
 *   *_ppm, *_ppb parts per million, parts per billion
 */
#ifndef FLOW_TYPES_H
#define FLOW_TYPES_H

#include <stddef.h> /* size_t, offsetof */
#include <stdint.h> /* int64_t and its kin */

#define FLOW_ABI_VERSION 2u

/* Results of the same inputs may differ between two semantics versions, never within one. */
#define FLOW_SEMANTICS_VERSION 2u

#define FLOW_PRICE_TICKS_MAX ((int64_t)1 << 50)
#define FLOW_QTY_LOTS_MAX ((int64_t)1 << 56)
#define FLOW_TS_US_MAX ((int64_t)1 << 53) /* the year 2255 */
#define FLOW_ORDERS_MAX 4096
#define FLOW_MARKETS_MAX 64
#define FLOW_PROFILE_ROWS_MAX ((int64_t)1 << 22)

#define FLOW_PPM 1000000
#define FLOW_PPB 1000000000

/* ITEM(name, text). Those from PRICE_FILTER to PERCENT_PRICE are Binance's own filter names. */
#define FLOW_STATUS_LIST(ITEM) \
    ITEM(OK, "no error") \
    ITEM(NULL_POINTER, "a required pointer is null") \
    ITEM(ABI_MISMATCH, "header and library are of different versions") \
    ITEM(BAD_CONFIG, "a configuration value is out of its range") \
    ITEM(NO_MEMORY, "out of memory") \
    ITEM(BAD_TIME, "a time is negative or beyond the year 2255") \
    ITEM(BAD_PRICE, "a price is not between 1 and the largest price") \
    ITEM(BAD_QTY, "a quantity is not between 1 and the largest quantity") \
    ITEM(BAD_SIDE, "a side is neither +1 nor -1") \
    ITEM(BAD_ORDER, "the parts of an order do not go together") \
    ITEM(BAD_MARKET, "no instrument has this number") \
    ITEM(UNKNOWN_ORDER, "no open order has this id") \
    ITEM(AMEND_PENDING, "an earlier amendment of this order is still on its way") \
    ITEM(CAPACITY, "the configured number of open orders is reached") \
    ITEM(OVERFLOW, "a sum would leave its range") \
    ITEM(BAD_ROW, "a row index lies behind the batch") \
    ITEM(TIME_REVERSED, "a clock or command lies before stream time") \
    ITEM(ENDED, "the stream has ended") \
    ITEM(HALTED, "the books of an account did not balance; the engine has stopped") \
    ITEM(NOT_DRAINED, "an outbox must be emptied first") \
    ITEM(BAD_STATE, "the bytes are no state of this version and configuration") \
    ITEM(SMALL_BUFFER, "the buffer is too small") \
    ITEM(BAD_SERIES, "there is no series of this number") \
    ITEM(BAD_ANCHOR, "there is no such anchor, or VWAP is switched off") \
    ITEM(NO_MARK, "this instrument has no mark price yet") \
    ITEM(PRICE_FILTER, "a price is off the venue's tick or outside its price range") \
    ITEM(LOT_SIZE, "a quantity is off the venue's step or outside its quantity range") \
    ITEM(MARKET_LOT_SIZE, "a market order is larger than the venue takes") \
    ITEM(NOTIONAL, "price times quantity is below the venue's least notional") \
    ITEM(PERCENT_PRICE, "a limit price is too far from the last price for the venue") \
    ITEM(BAD_RULE, "no rule of a venue has this number, or it cannot have this value")

typedef enum flow_status {
#define FLOW_STATUS_ENUM(name, text) FLOW_##name,
    FLOW_STATUS_LIST(FLOW_STATUS_ENUM)
#undef FLOW_STATUS_ENUM
        FLOW_STATUS_COUNT
} flow_status;

typedef struct flow_i128 {
    uint64_t lo;
    int64_t hi;
} flow_i128;

#endif
