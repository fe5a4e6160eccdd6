/* Names and texts of the one status list. */
#include "flow_kernel.h"

const char *flow_status_text(flow_status status)
{
    switch (status) {
#define FLOW_STATUS_CASE(name, text) \
    case FLOW_##name: \
        return text;
        FLOW_STATUS_LIST(FLOW_STATUS_CASE)
#undef FLOW_STATUS_CASE
    case FLOW_STATUS_COUNT:
        break;
    }
    return "not a status";
}

const char *flow_status_name(flow_status status)
{
    switch (status) {
#define FLOW_STATUS_CASE(name, text) \
    case FLOW_##name: \
        return #name;
        FLOW_STATUS_LIST(FLOW_STATUS_CASE)
#undef FLOW_STATUS_CASE
    case FLOW_STATUS_COUNT:
        break;
    }
    return "UNKNOWN";
}
