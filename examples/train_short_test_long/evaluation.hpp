#pragma once
// Measures how well a variant predicts a text at a length, and whether it finds a key.

#include <string_view>
#include <vector>

#include "reader.hpp"

namespace extrapolation {

/// A variant with its weights, and the threads that evaluate it.
struct subject {
  const variant& of;
  const language_model& model;
  unsigned threads;
};

/// Parts of a text, evenly spaced. The last byte of a span is only predicted.
using spans = std::vector<std::string_view>;
spans spans_of(std::string_view text, long bytes, long count);

/// The bits per byte of spans in pieces of one length, each alone, and of the last
/// `trained_length` bytes of each piece: those have seen most of it.
struct prediction {
  double bits = 0.0;
  double bits_of_last = 0.0;
  double bytes_per_second = 0.0;
};
prediction predict_in_pieces(const subject& of, const spans& read, long length,
                             const temperatures& aligned);

/// The bits per byte where each byte sees at most the trained length: a window that moves by 64
/// bytes and is read anew each time.
double predict_in_window(const subject& of, const spans& read);

/// The share of keys of five digits that the variant repeats when asked at the end of a text of
/// this length: all five digits are its first choice.
double find_keys(const subject& of, std::string_view text, long length,
                 const temperatures& aligned);

/// LeX's resolution (Sun et al., arXiv 2212.10554, equation 3) at a length, of the mean score at
/// each distance, averaged over layers; the mean is over heads and the last 16 queries of the text.
double resolution(const subject& of, std::string_view text, long length);

/// How sharp attention is, as means over the second half of the rows and over layers and heads.
struct sharpness {
  double entropy = 0.0;  // nats
  double log_of_largest_probability = 0.0;
};
sharpness measure(const subject& of, std::string_view text, const temperatures& aligned);

/// The temperatures of a variant at a length. An aligned variant has those at which attention over
/// the first `length` bytes has the sharpness of the trained length, layer by layer; others have 1.
temperatures align(const subject& of, std::string_view text, long length);

}  // namespace extrapolation
