// expect: relpos: a policy refers to its data and does not copy it: give the table a name and keep it alive, instead of passing a temporary
#include <relpos/views.hpp>

relpos::rotary policy() {
  return relpos::rotary{
      relpos::rotary_table(relpos::rope_frequencies(64), relpos::pair_layout::half_split)};
}
