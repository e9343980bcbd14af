#include "safetensors.hpp"

#include <relpos/views.hpp>

#include <bit>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace extrapolation {
namespace {

using nlohmann::json;

constexpr std::size_t most_bytes = std::size_t{1} << 30;

std::string text_of(const std::vector<long>& shape) {
  std::string text = "[";
  for (const long extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

template <class Stored>
std::vector<float> converted(std::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored number;
    std::memcpy(static_cast<void*>(&number), bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<float>(number);
  }
  return values;
}

struct number_type {
  const char* name;
  std::size_t bytes;
  std::vector<float> (*convert)(std::string_view bytes);
};
constexpr number_type number_types[] = {{"F16", 2, converted<relpos::half>},
                                        {"BF16", 2, converted<relpos::bfloat16>},
                                        {"F32", 4, converted<float>}};

/// A number of the header. The library of JSON converts a fraction or a negative number too, and
/// leaves undefined what comes of one beyond 64 bits.
std::uint64_t whole_number(const json& described) {
  if (described.is_number_unsigned()) return described.get<std::uint64_t>();
  throw std::runtime_error("shape or data_offsets have " + described.dump() +
                           ", must have whole numbers from 0 to 2^64 - 1");
}

/// A tensor as the header describes it. Throws the reason, without the file's name.
stored_tensor read_tensor(const json& described, std::string_view data) {
  const auto refuse = [](const std::string& reason) { throw std::runtime_error(reason); };
  const std::string dtype = described.at("dtype").get<std::string>();
  const number_type* type = nullptr;
  for (const number_type& each : number_types) {
    if (dtype == each.name) type = &each;
  }
  if (type == nullptr) refuse("dtype " + dtype + " is not F16, BF16 or F32");
  stored_tensor result;
  std::size_t bytes = type->bytes;
  for (const json& extent : described.at("shape")) {
    const std::uint64_t count = whole_number(extent);
    if (count > most_bytes || bytes * count > most_bytes) refuse("shape is too large");
    result.shape.push_back(static_cast<long>(count));
    bytes *= count;
  }
  const json& offsets = described.at("data_offsets");
  if (offsets.size() != 2) refuse("data_offsets are not two numbers");
  const std::uint64_t first = whole_number(offsets.at(0));
  const std::uint64_t last = whole_number(offsets.at(1));
  if (first > last || last > data.size()) {
    refuse("data_offsets " + std::to_string(first) + " to " + std::to_string(last) +
           " are not within " + std::to_string(data.size()) + " bytes of data");
  }
  if (last - first != bytes) {
    refuse("shape " + text_of(result.shape) + " of " + dtype + " has " + std::to_string(bytes) +
           " bytes, data_offsets have " + std::to_string(last - first));
  }
  result.values = type->convert(data.substr(first, bytes));
  return result;
}

}  // namespace

safetensors::safetensors(const std::string& name, std::string_view bytes) : name_(name) {
  const auto refuse = [&](const std::string& reason) {
    throw std::runtime_error(name + " is not in the format safetensors: " + reason);
  };
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) refuse("it ends before its header");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const std::string_view behind = bytes.substr(sizeof header_bytes);
  if (header_bytes > behind.size()) refuse("it ends within its header");
  const json header = json::parse(behind.substr(0, header_bytes), nullptr, false);
  if (!header.is_object()) refuse("its header is not an object of JSON");
  for (const auto& [tensor, described] : header.items()) {
    if (tensor == "__metadata__") continue;
    try {
      tensors_[tensor] = read_tensor(described, behind.substr(header_bytes));
    } catch (const json::exception&) {
      refuse("a tensor lacks dtype, shape and data_offsets of the right types");
    } catch (const std::runtime_error& error) {
      refuse(error.what());
    }
  }
}

const std::vector<float>& safetensors::values(const std::string& tensor,
                                              const std::vector<long>& shape) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) throw std::runtime_error(name_ + " has no tensor " + tensor);
  if (found->second.shape != shape) {
    throw std::runtime_error(name_ + ": " + tensor + " has the shape " +
                             text_of(found->second.shape) + ", must have " + text_of(shape));
  }
  return found->second.values;
}

}  // namespace extrapolation
