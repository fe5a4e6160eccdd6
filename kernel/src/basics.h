/* Wide integers and small helpers that every part of the kernel uses. */
#ifndef FLOW_BASICS_H
#define FLOW_BASICS_H

#include <stdbool.h> /* bool */

#include "flow_kernel.h"

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Functions for AVX2 are chosen at run time; see flow_cpu. */
#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#define AVX2 __attribute__((target("avx2")))
#else
#define HAS_AVX2 0
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define RETURN_IF(condition, status) \
    do { \
        if (condition) return status; \
    } while (0)

#define NEVER_US INT64_MAX
#define ALWAYS_US INT64_MIN

/* Records on their way out; empty again once all were taken. */
#define FLOW_OUTBOX(type) \
    struct { \
        type *items; \
        size_t head, tail, capacity; \
    }

static inline i128 i128_of(flow_i128 pair)
{
    return (i128)(((u128)(uint64_t)pair.hi << 64) | pair.lo);
}

static inline flow_i128 i128_pair(i128 value)
{
    return (flow_i128){.lo = (uint64_t)value, .hi = (int64_t)(value >> 64)};
}

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* The first point of the grid behind ts_us; NEVER_US without a grid. */
static inline int64_t next_on_grid(int64_t ts_us, int64_t grid_us)
{
    return grid_us > 0 ? (ts_us / grid_us + 1) * grid_us : NEVER_US;
}

static inline bool price_is_valid(int64_t price_ticks)
{
    return price_ticks >= 1 && price_ticks <= FLOW_PRICE_TICKS_MAX;
}

#endif
