/*
 * The last values of a stream, counted on a logarithmic scale, and quantiles of them.
 *
 * Values of 0 to 15 have a bucket each; above, each octave has eight. A quantile is the largest
 * value of its bucket, so it is never below the exact one and less than an eighth above it. All is
 * integers: equal values in equal order give equal states.
 */
#ifndef FLOW_ROLLING_HISTOGRAM_H
#define FLOW_ROLLING_HISTOGRAM_H

#include "codec.h"

#define HISTOGRAM_BUCKETS 488
#define HISTOGRAM_VALUES_MAX ((int64_t)1 << 20)
#define HISTOGRAM_PPM 1000000

typedef struct rolling_histogram {
    uint16_t *slots;  /* buckets of the values kept, a ring */
    uint32_t *counts; /* values kept in each bucket */
    size_t capacity;
    size_t count;
    size_t next;         /* the slot of the next value */
    int64_t tracked_ppm; /* the quantile below is kept up to date with each value; */
    size_t need;         /* its rank, 1 .. count; */
    size_t bucket;       /* its bucket; */
    size_t below;        /* values in lower buckets; */
    int64_t bound;       /* and the largest value of its bucket */
} rolling_histogram;

/* Keep the last `capacity` values, 1 .. HISTOGRAM_VALUES_MAX, and follow one quantile of them.
 * Returns false when memory is short, and then nothing is held. */
bool rolling_histogram_init(rolling_histogram *h, int64_t capacity, int64_t tracked_ppm);
void rolling_histogram_free(rolling_histogram *h);

/*
 * The smallest bucket bound that at least ppm / 1,000,000 of the values do not exceed; ppm is
 * 1 .. 1,000,000. 0 when there are no values. Takes time proportional to the number of buckets.
 */
int64_t rolling_histogram_quantile(const rolling_histogram *h, int64_t ppm);

/* Canonical bytes; loading needs a fresh histogram of the same capacity. */
void rolling_histogram_save(const rolling_histogram *h, writer *w);
bool rolling_histogram_load(rolling_histogram *h, reader *r);

static inline size_t histogram_bucket_of(int64_t value)
{
    if (value < 8) return value < 0 ? 0 : (size_t)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll((unsigned long long)value);
    return (size_t)(octave - 2) * 8 + (size_t)((value >> (octave - 3)) & 7);
}

/* The largest value of a bucket. */
static inline int64_t histogram_bound_of(size_t bucket)
{
    if (bucket < 8) return (int64_t)bucket;
    return (int64_t)(((uint64_t)(9 + bucket % 8) << (bucket / 8 - 1)) - 1);
}

/* The followed quantile, as rolling_histogram_quantile gives it, at once. */
static inline int64_t rolling_histogram_tracked(const rolling_histogram *h) { return h->bound; }

static inline size_t histogram_rank(int64_t ppm, size_t count)
{
    return (size_t)(((uint64_t)ppm * count + HISTOGRAM_PPM - 1) / HISTOGRAM_PPM);
}

/* Move the followed quantile's bucket to its rank. */
void rolling_histogram_follow(rolling_histogram *h);

/* Add a value of at least 0; the oldest one leaves when the ring is full. */
static inline void rolling_histogram_add(rolling_histogram *h, int64_t value)
{
    const size_t added = histogram_bucket_of(value);
    if (LIKELY(h->count == h->capacity)) {
        const size_t left = h->slots[h->next];
        h->counts[left]--;
        h->below -= left < h->bucket;
    } else {
        h->count++;
        h->need = histogram_rank(h->tracked_ppm, h->count);
    }
    h->slots[h->next] = (uint16_t)added;
    h->next = h->next + 1 == h->capacity ? 0 : h->next + 1;
    h->counts[added]++;
    h->below += added < h->bucket;
    if (LIKELY(h->below < h->need && h->need <= h->below + h->counts[h->bucket])) return;
    rolling_histogram_follow(h);
}

#endif
