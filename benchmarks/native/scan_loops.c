/*
 * What a careful C programmer writes first, for benchmarks/scan.py to compare with. The script
 * compiles it twice: for the searches without vectors, and for the reading as fast as it goes.
 */
#include <stddef.h>
#include <stdint.h>

/* The first row whose price lies outside [low, high]; count if there is none. */
size_t scalar_first_touch(const int64_t *price, size_t count, int64_t low, int64_t high)
{
    size_t i = 0;
    while (i < count && price[i] >= low && price[i] <= high)
        i++;
    return i;
}

/* The sum of all numbers modulo 2^64: nothing that reads them all can be faster. */
uint64_t read_sum(const uint64_t *words, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += words[i];
    return sum;
}
