// ATTEND is the function's name for the instruction set of this compilation.

#include "run_time_choice/attend.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>

#include "relpos/attention.hpp"
#include "relpos/policies.hpp"
#include "relpos/views.hpp"

void ATTEND(const attend_call& call) {
  using namespace relpos;
  const auto tensor = [&]<class T>(T* data) {
    return view<T, 4>(data, {1, call.heads, call.length, call.channels});
  };
  const auto q = tensor(call.q), k = tensor(call.k), v = tensor(call.v);
  const alibi bias(std::span(call.slopes, static_cast<std::size_t>(call.heads)));

  const auto prepared = prepare(serial(), tensor(call.out), q, k, v, bias, causal());
  const std::size_t bytes = prepared.workspace_bytes();
  const std::unique_ptr<std::byte[]> memory(new std::byte[bytes]);
  const status done = prepared.run(serial(), {memory.get(), bytes});
  if (!done) throw std::invalid_argument(done.message);
}
