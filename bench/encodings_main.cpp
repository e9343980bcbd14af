// The encodings alone, for an instruction set other than the machine's best.

#include "sections.hpp"

int main(int count, char** values) {
  return relpos::bench::run_sections(count, values, {relpos::bench::encodings});
}
