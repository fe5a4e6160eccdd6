/* Words in and out of canonical bytes. */
#include "codec.h"

void put(writer *w, uint64_t word)
{
    if (w->out)
        for (int i = 0; i < 8; i++)
            w->out[w->at + (size_t)i] = (uint8_t)(word >> (8 * i));
    w->at += 8;
}

void put_i64(writer *w, int64_t value) { put(w, (uint64_t)value); }

void put_i128(writer *w, i128 value)
{
    put(w, (uint64_t)value);
    put(w, (uint64_t)((u128)value >> 64));
}

uint64_t get(reader *r)
{
    if (r->count - r->at < 8) {
        r->bad = true;
        return 0;
    }
    uint64_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint64_t)r->bytes[r->at + (size_t)i] << (8 * i);
    r->at += 8;
    return word;
}

int64_t get_i64(reader *r) { return (int64_t)get(r); }

i128 get_i128(reader *r)
{
    uint64_t low = get(r);
    return (i128)(((u128)get(r) << 64) | low);
}

int64_t get_between(reader *r, int64_t low, int64_t high)
{
    int64_t value = get_i64(r);
    if (value >= low && value <= high) return value;
    r->bad = true;
    return low;
}
