#include <relpos/policies.hpp>

float first_slope() { return relpos::alibi_slopes(8).front(); }
