/* What the test files share. */
#ifndef FLOW_TESTS_H
#define FLOW_TESTS_H

#include <stdio.h>

extern int failures;

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

void test_rolling_histogram(void);

#endif
