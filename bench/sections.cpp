#include "sections.hpp"

#include <cstdio>
#include <string>

namespace relpos::bench {

int run_sections(int count, char** values, std::initializer_list<section*> sections) {
  effort how;
  std::string json;
  provenance from{.processor = "unknown",
                  .commit = "unknown",
                  .compiler = RELPOS_BENCH_COMPILER,
                  .flags = RELPOS_BENCH_FLAGS};
  for (int i = 1; i < count; ++i) {
    const std::string value = values[i];
    if (value == "--quick") {
      how = {.turns = 1, .quick = true};
    } else if (value == "--json" && i + 1 < count) {
      json = values[++i];
    } else if (value == "--processor" && i + 1 < count) {
      from.processor = values[++i];
    } else if (value == "--commit" && i + 1 < count) {
      from.commit = values[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--quick] [--json FILE] [--processor NAME] [--commit ID]\n",
                   values[0]);
      return 2;
    }
  }
  report found(from);
  for (section* const each : sections) each(how, found);
  if (json.empty() || found.write(json)) return 0;
  std::fprintf(stderr, "cannot write '%s'\n", json.c_str());
  return 1;
}

}  // namespace relpos::bench
