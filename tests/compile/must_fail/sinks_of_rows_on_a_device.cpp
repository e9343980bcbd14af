// expect: relpos: on a GPU sinks are of heads, not of rows
#include <relpos/cuda/check.hpp>
#include <relpos/policy/sink_logits.hpp>

static_assert(relpos::check_device_arguments<float, relpos::row_sink_logits>());
