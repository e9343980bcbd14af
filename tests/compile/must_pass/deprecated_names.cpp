// Names that 0.2 takes away.
#include <relpos/views.hpp>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

using view = relpos::view<float, 4>;

static_assert(std::is_same_v<relpos::index, relpos::index_t>);
static_assert(std::is_same_v<relpos::turn, relpos::rotor>);
static_assert(std::is_same_v<relpos::named_data, relpos::borrowed_data>);
static_assert(std::is_same_v<relpos::named_values<relpos::index_t>,
                             relpos::borrowed_values<relpos::index_t>>);
static_assert(relpos::status_code::scratch_too_small == relpos::status_code::workspace_too_small);

struct old_executor {
  static constexpr relpos::index_t slots() { return 3; }
  template <class Item>
  static void run(relpos::index_t count, Item&& item) {
    relpos::serial::run(count, item);
  }
};
static_assert(relpos::executor<old_executor>);
static_assert(relpos::worker_count(old_executor()) == 3);

relpos::status call(relpos::scratch memory, view out, view q, view k, view v) {
  const auto prepared = relpos::prepare(relpos::serial(), out, q, k, v, relpos::causal{});
  if (prepared.scratch_bytes() >
      relpos::scratch_bytes(relpos::serial(), q, k, v, relpos::causal{})) {
    return {};
  }
  return prepared.run(relpos::serial(), memory);
}
