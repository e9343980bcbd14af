// expect: relpos: a bias on another axis is computed on the CPU only
#include <relpos/cuda/check.hpp>
#include <relpos/policy/alibi.hpp>
#include <relpos/policy/on_axis.hpp>

static_assert(relpos::check_device_arguments<float, relpos::on_axis<relpos::alibi>>());
