// Small language models, one per encoding, trained on pieces of 256 bytes, read a text in pieces of
// up to 8192 bytes. Prints tables, and writes results.csv and bits_per_byte.svg.

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "evaluation.hpp"
#include "first_bytes.hpp"
#include "generation.hpp"
#include "report.hpp"

namespace {

using namespace extrapolation;

constexpr const char* usage =
    "usage: train_short_test_long [--weights FOLDER] [--encoding NAME] [--lengths N,N...] "
    "[--out FOLDER] [--generate N] FILE";

/// The bytes that each length predicts, in as many spans as the longest pieces allow.
constexpr long read_bytes = 32768;
constexpr std::size_t most_bytes = std::size_t{1} << 28;

constexpr long default_lengths[] = {256, 512, 1024, 2048, 4096, 8192};

struct arguments {
  std::string weights = "weights";
  std::string out = ".";
  std::string file;
  std::vector<const variant*> variants;
  std::vector<long> lengths;  // default: default_lengths up to the text's
  long generated = 0;
};

long number_of(std::string_view text, const char* option, long least, long most) {
  long number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size() || number < least ||
      number > most) {
    throw std::runtime_error(std::string(option) + ": '" + std::string(text) + "', must be " +
                             std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

const variant& variant_named(const std::string& name) {
  std::string names;
  for (const variant& each : variants()) {
    if (name == each.name) return each;
    names += std::string(names.empty() ? "" : ", ") + each.name;
  }
  throw std::runtime_error("--encoding: '" + name + "' is none of " + names);
}

arguments parsed(int count, char** words) {
  arguments result;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--")) {
      if (!result.file.empty()) throw std::runtime_error(usage);
      result.file = word;
      continue;
    }
    if (i + 1 == count) throw std::runtime_error(usage);
    const std::string value = words[++i];
    if (word == "--weights") {
      result.weights = value;
    } else if (word == "--out") {
      result.out = value;
    } else if (word == "--encoding") {
      result.variants.push_back(&variant_named(value));
    } else if (word == "--generate") {
      result.generated = number_of(value, "--generate", 1, 1 << 20);
    } else if (word == "--lengths") {
      for (std::size_t first = 0; first <= value.size();) {
        const std::size_t end = std::min(value.find(',', first), value.size());
        result.lengths.push_back(number_of(std::string_view(value).substr(first, end - first),
                                           "--lengths", trained_length, 1 << 17));
        first = end + 1;
      }
    } else {
      throw std::runtime_error(usage);
    }
  }
  if (result.file.empty()) throw std::runtime_error(usage);
  if (result.variants.empty()) {
    for (const variant& each : variants()) result.variants.push_back(&each);
  }
  return result;
}

double peak_mebibytes() {
  rusage usage_of_process{};
  getrusage(RUSAGE_SELF, &usage_of_process);
  return static_cast<double>(usage_of_process.ru_maxrss) / 1024.0;
}

results evaluate(const arguments& given, std::string_view text) {
  const long longest = std::ranges::max(given.lengths);
  const auto predictable = static_cast<long>(text.size()) - 1;
  const spans read =
      spans_of(text, longest, std::max(1L, std::min(read_bytes, predictable) / longest));
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  results all{given.lengths, {}, 0.0};
  std::size_t done = 0;
  for (const variant* each : given.variants) {
    const language_model model(given.weights + "/" + each->model + ".safetensors");
    const subject of{*each, model, threads};
    result_row row{each, {}, {}};
    const bool changes_nothing = each->beyond == stretch::none && !each->is_second_seed;
    if (changes_nothing) row.bits_in_window = predict_in_window(of, read);
    for (const long length : given.lengths) {
      std::fprintf(stderr, "\r\033[K%zu of %zu: %s, %ld bytes", done + 1, given.variants.size(),
                   each->name, length);
      const temperatures aligned = align(of, read.front(), length);
      result_cell cell{predict_in_pieces(of, read, length, aligned), {}, {}, {}};
      // Who finds none at the first length is not asked at the others.
      const bool may_find = row.cells.empty() || row.cells.front().keys_found.value_or(0.0) > 0.0;
      if (!each->is_second_seed && may_find) {
        cell.keys_found = find_keys(of, text, length, aligned);
      }
      if (each->by == encoding::t5) {
        cell.sharp = measure(of, read.front().substr(0, static_cast<std::size_t>(length)), aligned);
      }
      if (changes_nothing && length <= 2048) cell.resolution = resolution(of, read.front(), length);
      row.cells.push_back(cell);
    }
    all.rows.push_back(row);
    ++done;
  }
  std::fprintf(stderr, "\r\033[K");
  all.peak_mebibytes = peak_mebibytes();
  return all;
}

int run(arguments given) {
  const std::string text = first_bytes(given.file, most_bytes);
  if (given.generated > 0) {
    for (const variant* each : given.variants) {
      const language_model model(given.weights + "/" + each->model + ".safetensors");
      std::printf("%s: %s\n", each->name,
                  continuation(*each, model, text, given.generated).c_str());
    }
    return 0;
  }
  if (!std::filesystem::is_directory(given.out)) {
    throw std::runtime_error("--out: " + given.out + " is no folder");
  }
  const auto bytes = static_cast<long>(text.size());
  if (given.lengths.empty()) {
    std::copy_if(std::begin(default_lengths), std::end(default_lengths),
                 std::back_inserter(given.lengths), [&](long length) { return length < bytes; });
  }
  const long longest = given.lengths.empty() ? trained_length : std::ranges::max(given.lengths);
  if (bytes <= longest) {
    throw std::runtime_error(given.file + " has " + std::to_string(bytes) + " bytes, pieces of " +
                             std::to_string(longest) + " need " + std::to_string(longest + 1));
  }
  const results all = evaluate(given, text);
  print(all);
  write_csv(all, given.out + "/results.csv");
  write_svg(all, given.out + "/bits_per_byte.svg");
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(parsed(count, words));
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
  }
}
