// expect: relpos: selected keys are read on the CPU only
#include <relpos/cuda/check.hpp>
#include <relpos/policy/mask/selected_keys.hpp>

static_assert(relpos::check_device_arguments<float, relpos::selected_keys>());
