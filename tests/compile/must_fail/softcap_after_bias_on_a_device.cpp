// expect: relpos: a softcap after the bias is computed on the CPU only
#include <relpos/cuda/check.hpp>
#include <relpos/policy/softcap_after_bias.hpp>

static_assert(relpos::check_device_arguments<float, relpos::softcap_after_bias>());
