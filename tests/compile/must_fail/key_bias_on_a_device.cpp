// expect: relpos: a bias of numbers per key is computed on the CPU only
#include <relpos/cuda/check.hpp>
#include <relpos/policy/position_bias.hpp>

static_assert(relpos::check_device_arguments<float, relpos::key_bias>());
