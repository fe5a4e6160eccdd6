/* Memory, queries and canonical bytes of a rolling histogram. */
#include <stdlib.h> /* calloc, free */

#include "rolling_histogram.h"

#define SLOTS_PER_WORD 4

bool rolling_histogram_init(rolling_histogram *h, int64_t capacity, int64_t tracked_ppm)
{
    *h = (rolling_histogram){.capacity = (size_t)capacity, .tracked_ppm = tracked_ppm};
    h->slots = calloc(h->capacity, sizeof *h->slots);
    h->counts = calloc(HISTOGRAM_BUCKETS, sizeof *h->counts);
    if (h->slots && h->counts) return true;
    rolling_histogram_free(h);
    return false;
}

void rolling_histogram_free(rolling_histogram *h)
{
    free(h->slots);
    free(h->counts);
    *h = (rolling_histogram){0};
}

int64_t rolling_histogram_quantile(const rolling_histogram *h, int64_t ppm)
{
    if (h->count == 0) return 0;
    size_t need = histogram_rank(ppm, h->count), seen = 0, bucket = 0;
    while ((seen += h->counts[bucket]) < need)
        bucket++;
    return histogram_bound_of(bucket);
}

void rolling_histogram_follow(rolling_histogram *h)
{
    while (h->below >= h->need)
        h->below -= h->counts[--h->bucket];
    while (h->below + h->counts[h->bucket] < h->need)
        h->below += h->counts[h->bucket++];
    h->bound = histogram_bound_of(h->bucket);
}

/* The number of values, then their buckets from the oldest on, four to a word. */
void rolling_histogram_save(const rolling_histogram *h, writer *w)
{
    put(w, h->count);
    size_t oldest = h->count == h->capacity ? h->next : 0;
    for (size_t i = 0; i < h->count; i += SLOTS_PER_WORD) {
        uint64_t word = 0;
        for (size_t j = i; j < h->count && j < i + SLOTS_PER_WORD; j++)
            word |= (uint64_t)h->slots[(oldest + j) % h->capacity] << (16 * (j - i));
        put(w, word);
    }
}

bool rolling_histogram_load(rolling_histogram *h, reader *r)
{
    uint64_t count = get(r);
    if (r->bad || count > h->capacity) return false;
    for (uint64_t i = 0; i < count; i += SLOTS_PER_WORD) {
        uint64_t word = get(r);
        for (uint64_t j = i; j < i + SLOTS_PER_WORD; j++, word >>= 16) {
            size_t bucket = word & 0xffff;
            if (r->bad || bucket >= HISTOGRAM_BUCKETS || (j >= count && bucket != 0)) return false;
            if (j < count) rolling_histogram_add(h, histogram_bound_of(bucket));
        }
    }
    return true;
}
