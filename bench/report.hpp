#pragma once
// The benchmark's results: tables for a person, build/bench/results.json for bench/publish.py.

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace relpos::bench {

/// The origin of the figures.
struct provenance {
  std::string processor;
  std::string commit;
  std::string compiler;
  std::string flags;
};

/// One measured call. Only ratios are comparable between machines and runs.
struct measurement {
  long long head_dim = 0;
  long long length = 0;
  std::string encoding;
  std::string setting;                         // the mask, or what the section varies instead
  std::optional<double> fraction_of_peak{};    // float32 multiply-adds of visible scores
  std::optional<double> extra_time_percent{};  // against the same call without the encoding
  std::map<std::string, double> speedup{};     // time of a peer, or of a variant, over this time
  std::optional<double> ratio{};               // the ratio that the section's title names
  std::optional<unsigned long long> workspace_bytes{};
};

class report {
 public:
  explicit report(const provenance& from) : from_(from) {}

  /// Starts a section and prints the heads of its columns. `setting` is the head of the second one.
  void begin(const std::string& title, const std::string& setting = "mask");
  /// Prints a remark on the section and keeps it.
  void note(const std::string& remark);
  /// Prints one row and keeps it.
  void add(const measurement& found);
  /// Writes the sections to a JSON file and keeps the file's sections with other titles. Returns
  /// false if the file cannot be written.
  bool write(const std::string& path) const;

 private:
  struct section {
    std::string title;
    std::string setting;
    std::vector<std::string> notes{};
    std::vector<measurement> rows{};
  };

  provenance from_;
  std::vector<section> sections_;
};

}  // namespace relpos::bench
