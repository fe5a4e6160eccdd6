/* How long a command is on its way: drawn by what it is for, not by when, so no draw shifts
 * another. */
#ifndef FLOW_LATENCY_H
#define FLOW_LATENCY_H

#include "flow_kernel.h"

#define LEG_SUBMIT 0
#define LEG_CANCEL 1
#define LEG_AMEND 2

#define GOLDEN 0x9E3779B97F4A7C15u

/* The finalizer of SplitMix64. */
static inline uint64_t latency_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static inline int64_t latency_of(const flow_config *config, uint64_t order_id, uint64_t leg)
{
    const uint64_t of_seed = latency_mix(config->seed + GOLDEN);
    const uint64_t of_order = latency_mix((of_seed ^ order_id) + GOLDEN);
    return config->latency_us[latency_mix((of_order ^ leg) + GOLDEN) >> 58];
}

#endif
