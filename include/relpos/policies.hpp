#pragma once
// Every encoding, mask and temperature.

#include "relpos/policy/additive_bias.hpp"
#include "relpos/policy/alibi.hpp"
#include "relpos/policy/alibi_encoder.hpp"
#include "relpos/policy/alibi_slopes.hpp"
#include "relpos/policy/mask/blockwise.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/combine.hpp"
#include "relpos/policy/mask/documents.hpp"
#include "relpos/policy/mask/prefix.hpp"
#include "relpos/policy/relative_bias.hpp"
#include "relpos/policy/t5.hpp"
#include "relpos/policy/temperature.hpp"
