"""The largest values that the kernel counts with; they mirror `kernel/include/flow_kernel.h`."""

PRICE_TICKS_MAX = 1 << 50
QTY_LOTS_MAX = 1 << 56
TS_US_MAX = 1 << 53
INT64_MAX = (1 << 63) - 1
