#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace relpos::bench {
namespace {

std::string text(const char* format, double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

nlohmann::json to_json(const measurement& row) {
  nlohmann::json object = {{"encoding", row.encoding},
                           {"setting", row.setting},
                           {"head_dim", row.head_dim},
                           {"length", row.length}};
  if (row.fraction_of_peak) object["fraction_of_peak"] = *row.fraction_of_peak;
  if (row.extra_time_percent) object["extra_time_percent"] = *row.extra_time_percent;
  if (!row.speedup.empty()) object["speedup"] = row.speedup;
  if (row.ratio) object["ratio"] = *row.ratio;
  if (row.workspace_bytes) object["workspace_bytes"] = *row.workspace_bytes;
  return object;
}

}  // namespace

void report::begin(const std::string& title, const std::string& setting) {
  std::printf("\n%s\n%-28s %-20s %8s %7s %9s %8s %10s  %s\n", title.c_str(), "encoding",
              setting.c_str(), "head_dim", "length", "of peak", "extra", "workspace",
              "times as fast as");
  sections_.push_back({title, setting});
}

void report::note(const std::string& remark) {
  std::printf("%s\n", remark.c_str());
  sections_.back().notes.push_back(remark);
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
              found.setting.c_str(), found.head_dim, found.length, fraction.c_str(), extra.c_str(),
              workspace.c_str(), speedups.c_str());
  std::fflush(stdout);
  sections_.back().rows.push_back(found);
}

bool report::write(const std::string& path) const {
  const auto is_found_anew = [&](const nlohmann::json& object) {
    return std::any_of(sections_.begin(), sections_.end(),
                       [&](const section& each) { return object.at("title") == each.title; });
  };
  nlohmann::json sections = nlohmann::json::array();
  if (std::ifstream before(path); before) {
    const nlohmann::json results = nlohmann::json::parse(before);
    for (const nlohmann::json& object : results.at("sections")) {
      if (!is_found_anew(object)) sections.push_back(object);
    }
  }
  for (const section& each : sections_) {
    nlohmann::json rows = nlohmann::json::array();
    for (const measurement& row : each.rows) rows.push_back(to_json(row));
    sections.push_back({{"title", each.title},
                        {"setting", each.setting},
                        {"processor", from_.processor},
                        {"commit", from_.commit},
                        {"compiler", from_.compiler},
                        {"flags", from_.flags},
                        {"notes", each.notes},
                        {"rows", rows}});
  }
  std::ofstream out(path);
  out << nlohmann::json{{"sections", sections}}.dump(1) << '\n';
  return static_cast<bool>(out);
}

}  // namespace relpos::bench
