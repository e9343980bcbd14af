#pragma once
// What the benchmark found, as tables for a person and as build/bench/results.json for a program.

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace relpos::bench {

/// One measured call. Ratios alone are comparable between machines and runs.
struct measurement {
  std::string name;  // of the section
  long long head_dim = 0;
  long long length = 0;
  std::string encoding;
  std::string mask;
  int threads = 1;
  std::string isa;
  std::optional<double> fraction_of_peak{};    // float32 multiply-adds of visible scores
  std::optional<double> extra_time_percent{};  // against the same call without it
  std::map<std::string, double>
      speedup{};                  // time of a peer, or of another way, in times of this one
  std::optional<double> ratio{};  // what the section says it is of
  std::optional<unsigned long long> workspace_bytes{};
};

class report {
 public:
  /// Starts a section and prints the heads of its columns.
  void begin(const std::string& title);
  /// Prints one line and keeps it.
  void add(const measurement& found);
  /// Writes an array of objects, in which the sections of other programs and instruction sets stay.
  /// False if it cannot be written.
  bool write(const std::string& path) const;

 private:
  std::vector<measurement> all_;
};

}  // namespace relpos::bench
