#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace relpos::bench {
namespace {

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

std::string text(const char* format, double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

}  // namespace

void report::begin(const std::string& title) {
  std::printf("\n%s\n%-28s %-20s %8s %7s %9s %8s %10s  %s\n", title.c_str(), "encoding", "mask",
              "head_dim", "length", "of peak", "extra", "workspace", "times as fast as");
}

void report::add(const measurement& found) {
  const std::string fraction =
      found.fraction_of_peak ? text("%.1f%%", 100.0 * *found.fraction_of_peak) : "";
  const std::string extra =
      found.extra_time_percent ? text("%+.1f%%", *found.extra_time_percent) : "";
  const std::string workspace =
      found.workspace_bytes ? text("%.0f KiB", static_cast<double>(*found.workspace_bytes) / 1024)
                            : "";
  std::string speedups;
  for (const auto& [peer, ratio] : found.speedup) {
    speedups += (speedups.empty() ? "" : ", ") + peer + text(" %.2f", ratio);
  }
  if (found.ratio) speedups += text("%.3f", *found.ratio);
  std::printf("%-28s %-20s %8lld %7lld %9s %8s %10s  %s\n", found.encoding.c_str(),
              found.mask.c_str(), found.head_dim, found.length, fraction.c_str(), extra.c_str(),
              workspace.c_str(), speedups.c_str());
  std::fflush(stdout);
  all_.push_back(found);
}

bool report::write(const std::string& path) const {
  const auto is_found_anew = [&](const nlohmann::json& object) {
    return std::any_of(all_.begin(), all_.end(), [&](const measurement& each) {
      return object.at("name") == each.name && object.at("isa") == each.isa;
    });
  };
  nlohmann::json array = nlohmann::json::array();
  if (std::ifstream before(path); before) {
    for (const nlohmann::json& object : nlohmann::json::parse(before)) {
      if (!is_found_anew(object)) array.push_back(object);
    }
  }
  for (const measurement& each : all_) {
    nlohmann::json object = {{"name", each.name},
                             {"head_dim", each.head_dim},
                             {"length", each.length},
                             {"encoding", each.encoding},
                             {"mask", each.mask},
                             {"threads", each.threads},
                             {"isa", each.isa},
                             {"fraction_of_peak", or_null(each.fraction_of_peak)},
                             {"extra_time_percent", or_null(each.extra_time_percent)},
                             {"speedup", nlohmann::json(each.speedup)}};
    if (each.ratio) object["ratio"] = *each.ratio;
    if (each.workspace_bytes) object["workspace_bytes"] = *each.workspace_bytes;
    array.push_back(object);
  }
  std::ofstream out(path);
  out << array.dump(1) << '\n';
  return static_cast<bool>(out);
}

}  // namespace relpos::bench
