#pragma once

#include <string>
#include <string_view>

#include "variant.hpp"

namespace extrapolation {

/// `count` bytes that a variant writes behind the last `trained_length` bytes of a prompt, one
/// after another, over a cache. They are drawn from the model's probabilities at temperature 0.7,
/// and are the same in each run.
std::string continuation(const variant& of, const language_model& model, std::string_view prompt,
                         long count);

}  // namespace extrapolation
