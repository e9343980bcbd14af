// expect: relpos: a bias of several terms is computed on the CPU only
#include <relpos/cuda/check.hpp>
#include <relpos/policy/mixed_bias.hpp>

static_assert(relpos::check_device_arguments<float, relpos::mixed_bias>());
