/* Canonical bytes: 8-byte little-endian words, 128-bit numbers as two of them, low first. */
#ifndef FLOW_CODEC_H
#define FLOW_CODEC_H

#include "basics.h"

/* A writer that only counts when out is null. */
typedef struct writer {
    uint8_t *out;
    size_t at;
} writer;

/* A reader that gives zeros and is bad from then on once its bytes end. */
typedef struct reader {
    const uint8_t *bytes;
    size_t at, count;
    bool bad;
} reader;

void put(writer *w, uint64_t word);
void put_i64(writer *w, int64_t value);
void put_i128(writer *w, i128 value);

uint64_t get(reader *r);
int64_t get_i64(reader *r);
i128 get_i128(reader *r);

/* Read a word that must lie between two bounds; the lower one is given for others. */
int64_t get_between(reader *r, int64_t low, int64_t high);

#endif
