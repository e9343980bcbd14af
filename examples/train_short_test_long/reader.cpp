#include "reader.hpp"

#include <relpos/relpos.hpp>

#include <algorithm>
#include <cmath>

namespace extrapolation {
namespace {

using relpos::view;

/// Rows [length, width] of all heads as a tensor.
view<float, 4> by_head(matrix& rows) {
  return {rows.data(), {1, heads, rows.rows(), head_dim}, {rows.size(), head_dim, rows.cols(), 1}};
}

}  // namespace

reader::reader(const variant& of, const language_model& model, long length)
    : of_(of),
      model_(model),
      length_(length),
      temperatures_(layers, std::vector<float>(heads, 1.0f)) {
  if (of.by == encoding::rope) {
    rotation_.emplace(frequencies_of(of, length), relpos::pair_layout::half_split);
  } else if (of.by == encoding::xpos) {
    rotation_.emplace(frequencies_of(of, length), relpos::pair_layout::interleaved);
  }
}

matrix reader::read(std::string_view text,
                    const std::function<void(const layer_inputs&)>& before_attention) {
  return states_of(text, 0, [&](const layer_inputs& in, matrix& out) {
    if (before_attention) before_attention(in);
    with_layer_policies(in.layer, in.qkv, [&](const auto&... policies) {
      run(relpos::prepare(relpos::serial{}, by_head(out), in.q, in.k, in.v, policies...,
                          relpos::options{.scale = score_scale}));
    });
  });
}

matrix reader::read_on(std::string_view text) {
  return states_of(text, caches_[0].rows[0], [&](const layer_inputs& in, matrix& out) {
    layer_cache& own = caches_[static_cast<std::size_t>(in.layer)];
    const auto rows = static_cast<std::size_t>(heads * length_ * head_dim);
    own.keys.resize(rows);
    own.values.resize(rows);
    const std::array<relpos::index_t, 4> shape{1, heads, length_, head_dim};
    const relpos::contiguous_cache<float> cache{
        {view<float, 4>(own.keys.data(), shape), view<float, 4>(own.values.data(), shape)},
        own.rows};
    with_layer_policies(in.layer, in.qkv, [&](const auto&... policies) {
      relpos::throw_unless(relpos::append(relpos::serial{}, cache, in.k, in.v, policies...));
      run(relpos::prepare(relpos::serial{}, by_head(out), in.q, cache, policies...,
                          relpos::options{.scale = score_scale}));
    });
  });
}

template <class Attend>
matrix reader::states_of(std::string_view text, long first_position, const Attend& attend) {
  const auto length = static_cast<long>(text.size());
  matrix states(length, width);
  for (long row = 0; row < length; ++row) {
    const auto byte = static_cast<unsigned char>(text[static_cast<std::size_t>(row)]);
    states.row(row) = std::sqrt(static_cast<float>(width)) * model_.embedding.row(byte);
  }
  if (of_.by == encoding::sinusoidal) {
    relpos::throw_unless(relpos::add_sinusoidal(view<float, 3>(states.data(), {1, length, width}),
                                                relpos::sinusoidal_layout::interleaved,
                                                first_position));
  }
  matrix attended(length, width);
  for (long layer = 0; layer < layers; ++layer) {
    const layer_weights& weights = model_.of_layer[static_cast<std::size_t>(layer)];
    const matrix qkv = rms_norm(states, weights.attention_norm) * weights.qkv;
    const auto part = [&](long first) {
      return view<const float, 4>(qkv.data() + first, {1, heads, length, head_dim},
                                  {qkv.size(), head_dim, qkv.cols(), 1});
    };
    attend(layer_inputs{layer, qkv, part(0), part(width), part(2 * width)}, attended);
    states.noalias() += attended * weights.projection;
    matrix up = rms_norm(states, weights.hidden_norm) * weights.up;
    gelu(up);
    states.noalias() += up * weights.down;
  }
  return rms_norm(states, model_.norm);
}

template <class Call>
void reader::run(const Call& call) {
  memory_.resize(std::max(memory_.size(), call.workspace_bytes()));
  relpos::throw_unless(call.run(relpos::serial{}, memory_));
}

}  // namespace extrapolation
