#include "report.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "demo/svg.hpp"

namespace extrapolation {
namespace {

std::string formatted(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content << std::flush;
  if (!file) throw std::runtime_error("cannot write " + path + ": " + std::strerror(errno));
}

/// One row a variant, one column a length. Leaves out rows without a value.
void print_table(const results& all, const char* title,
                 const std::function<std::string(const result_cell&)>& text_of) {
  std::printf("\n%s\n\n| %-18s |", title, "");
  for (const long length : all.lengths) std::printf(" %6ld |", length);
  std::printf("\n|--------------------|");
  for (std::size_t i = 0; i < all.lengths.size(); ++i) std::printf("-------:|");
  std::printf("\n");
  for (const result_row& row : all.rows) {
    const bool is_empty = std::all_of(row.cells.begin(), row.cells.end(),
                                      [&](const auto& cell) { return text_of(cell).empty(); });
    if (is_empty) continue;
    std::printf("| %-18s |", row.of->name);
    for (const result_cell& cell : row.cells) std::printf(" %6s |", text_of(cell).c_str());
    std::printf("\n");
  }
}

/// One colour for all variants of an encoding.
const char* colour_of(encoding by) {
  switch (by) {
    case encoding::none:
      return "#111111";
    case encoding::sinusoidal:
      return "#888888";
    case encoding::rope:
      return "#1f77b4";
    case encoding::xpos:
      return "#2ca02c";
    case encoding::alibi:
      return "#d62728";
    case encoding::t5:
      return "#e67300";
    default:
      return "#9467bd";
  }
}

/// A variant that changes its encoding beyond the training length is dashed.
const char* dashes_of(const variant& of) {
  switch (of.beyond) {
    case stretch::none:
      return "";
    case stretch::linear:
    case stretch::entropy:
      return "stroke-dasharray=\"2 3\"";
    case stretch::ntk:
      return "stroke-dasharray=\"8 3 2 3\"";
    default:
      return "stroke-dasharray=\"7 3\"";
  }
}

}  // namespace

void print(const results& all) {
  print_table(all, "Bits per byte, pieces of each length",
              [](const result_cell& cell) { return formatted("%.3f", cell.predicted.bits); });
  print_table(
      all, "Bits per byte of the last 256 bytes of each piece",
      [](const result_cell& cell) { return formatted("%.3f", cell.predicted.bits_of_last); });
  std::printf("\nBits per byte, a window of 256 bytes that moves by 64\n\n");
  for (const result_row& row : all.rows) {
    if (row.bits_in_window) {
      std::printf("| %-18s | %6.3f |\n", row.of->name, *row.bits_in_window);
    }
  }
  print_table(all, "Keys found, of 100", [](const result_cell& cell) {
    return cell.keys_found ? formatted("%.0f", 100.0 * *cell.keys_found) : "";
  });
  print_table(all, "Entropy of attention, nats", [](const result_cell& cell) {
    return cell.sharp ? formatted("%.3f", cell.sharp->entropy) : "";
  });
  print_table(all, "Largest probability of attention, geometric mean", [](const result_cell& cell) {
    return cell.sharp ? formatted("%.3f", std::exp(cell.sharp->log_of_largest_probability)) : "";
  });
  print_table(all, "Resolution", [](const result_cell& cell) {
    return cell.resolution ? formatted("%.3f", *cell.resolution) : "";
  });
  print_table(all, "Thousand bytes per second", [](const result_cell& cell) {
    return formatted("%.1f", cell.predicted.bytes_per_second / 1000.0);
  });
  std::printf("\nPeak memory of the process: %.0f MiB\n", all.peak_mebibytes);
}

void write_csv(const results& all, const std::string& path) {
  std::string text =
      "encoding,length,bits_per_byte,bits_per_byte_of_last_256,bits_per_byte_in_window,"
      "keys_found,entropy,largest_probability,resolution,bytes_per_second\n";
  for (const result_row& row : all.rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const result_cell& cell = row.cells[i];
      text += std::string(row.of->name) + "," + std::to_string(all.lengths[i]);
      const auto add = [&](std::optional<double> value) {
        text += value ? formatted(",%.4f", *value) : ",";
      };
      add(cell.predicted.bits);
      add(cell.predicted.bits_of_last);
      add(row.bits_in_window);
      add(cell.keys_found);
      add(cell.sharp ? std::optional(cell.sharp->entropy) : std::nullopt);
      add(cell.sharp ? std::optional(std::exp(cell.sharp->log_of_largest_probability))
                     : std::nullopt);
      add(cell.resolution);
      text += formatted(",%.0f\n", cell.predicted.bytes_per_second);
    }
  }
  write_file(path, text);
}

void write_svg(const results& all, const std::string& path) {
  constexpr double left = 60, top = 40, plot_width = 520, plot_height = 360;
  constexpr double highest = 8.0;
  double lowest = highest;
  for (const result_row& row : all.rows) {
    for (const result_cell& cell : row.cells) lowest = std::min(lowest, cell.predicted.bits);
  }
  lowest = std::floor(2.0 * lowest) / 2.0;
  // Both axes are logarithmic.
  const double shortest = std::log2(static_cast<double>(all.lengths.front()));
  const double longest = std::log2(static_cast<double>(all.lengths.back()));
  const auto x_of = [&](long length) {
    const double share = longest > shortest ? (std::log2(static_cast<double>(length)) - shortest) /
                                                  (longest - shortest)
                                            : 0.5;
    return left + plot_width * share;
  };
  const auto y_of = [&](double bits) {
    const double share = std::log2(std::min(bits, highest) / lowest) / std::log2(highest / lowest);
    return top + plot_height * (1.0 - share);
  };
  demo::svg picture;
  picture.add_text(left, 24, "Bits per byte beyond the training length, 256", 15);
  picture.add_frame(left, top, plot_width, plot_height);
  for (const long length : all.lengths) {
    picture.add_line({{x_of(length), top}, {x_of(length), top + plot_height}}, "#eee", 1);
    picture.add_text(x_of(length), top + plot_height + 18, std::to_string(length), 12, "middle");
  }
  for (double bits = lowest; bits <= highest; bits += bits < 3.0 ? 0.5 : 1.0) {
    picture.add_line({{left, y_of(bits)}, {left + plot_width, y_of(bits)}}, "#eee", 1);
    picture.add_text(left - 8, y_of(bits) + 4, formatted("%.1f", bits), 12, "end");
  }
  // Labels at the right end, moved apart.
  std::vector<std::size_t> order(all.rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto last_bits = [&](std::size_t i) { return all.rows[i].cells.back().predicted.bits; };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return last_bits(a) < last_bits(b); });
  double label = top + plot_height + 20;
  for (const std::size_t i : order) {
    const result_row& row = all.rows[i];
    const std::string colour = colour_of(row.of->by);
    std::vector<demo::point> points;
    points.reserve(row.cells.size());
    for (std::size_t at = 0; at < row.cells.size(); ++at) {
      points.emplace_back(x_of(all.lengths[at]), y_of(row.cells[at].predicted.bits));
    }
    picture.add_line(points, colour, row.of->is_second_seed ? 1.0 : 2.0, dashes_of(*row.of));
    label = std::min(label - 15, y_of(last_bits(i)) + 4);
    picture.add_text(left + plot_width + 8, label,
                     std::string(row.of->name) + "  " + formatted("%.2f", last_bits(i)), 12,
                     "start", "fill=\"" + colour + "\"");
  }
  write_file(path, picture.finished(780, 440));
}

}  // namespace extrapolation
