#pragma once
// The tables, the file of figures and the picture.

#include <optional>
#include <string>
#include <vector>

#include "evaluation.hpp"

namespace extrapolation {

/// A variant at one length.
struct result_cell {
  prediction predicted;
  std::optional<double> keys_found{};
  std::optional<sharpness> sharp{};
  std::optional<double> resolution{};
};

struct result_row {
  const variant* of;
  std::vector<result_cell> cells;          // of each length
  std::optional<double> bits_in_window{};  // of variants that change nothing
};

struct results {
  std::vector<long> lengths;
  std::vector<result_row> rows;
  double peak_mebibytes = 0.0;  // of the process
};

void print(const results& all);

/// One line for each variant and length. Throws std::runtime_error if the file cannot be written.
void write_csv(const results& all, const std::string& path);

/// Bits per byte against length, one curve for each variant. Throws as write_csv does.
void write_svg(const results& all, const std::string& path);

}  // namespace extrapolation
