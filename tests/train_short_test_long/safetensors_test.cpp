#include "train_short_test_long/safetensors.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>

namespace {

using extrapolation::safetensors;

std::string file_of(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + data;
}

/// Two tensors: halves 1, -2, 0.5, and the bfloat16 3.
const std::string header =
    R"({"__metadata__":{"a":"b"},"x":{"dtype":"F16","shape":[3,1],"data_offsets":[0,6]},)"
    R"("y":{"dtype":"BF16","shape":[],"data_offsets":[6,8]}})";
const std::string data("\x00\x3c\x00\xc0\x00\x38\x40\x40", 8);

/// The message of the refusal, or nothing.
std::string refusal_of(const std::string& file) {
  try {
    const safetensors read("the file", file);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(safetensors, reads_tensors) {
  const safetensors file("the file", file_of(header, data));
  EXPECT_EQ(file.values("x", {3, 1}), (std::vector<float>{1.0f, -2.0f, 0.5f}));
  EXPECT_EQ(file.values("y", {}), std::vector<float>{3.0f});
  EXPECT_FALSE(file.has("z"));
}

TEST(safetensors, names_what_is_missing) {
  const safetensors file("the file", file_of(header, data));
  const auto refusal = [&](const char* name, const std::vector<long>& shape) -> std::string {
    try {
      (void)file.values(name, shape);
      return "";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(refusal("z", {3}), "the file has no tensor z");
  EXPECT_EQ(refusal("x", {3}), "the file: x has the shape [3, 1], must have [3]");
}

TEST(safetensors, refuses_broken_files) {
  const std::string whole = file_of(header, data);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    ASSERT_NE(refusal_of(whole.substr(0, length)), "") << length;
  }
  const auto of_x = [](const std::string& described) {
    return refusal_of(file_of("{\"x\":" + described + "}", data));
  };
  const auto expect = [&](const std::string& described, const std::string& reason) {
    EXPECT_NE(of_x(described).find(reason), std::string::npos) << of_x(described);
  };
  expect(R"({"dtype":"I8","shape":[8],"data_offsets":[0,8]})", "dtype I8");
  expect(R"({"dtype":"F16","shape":[3],"data_offsets":[0,8]})", "has 6 bytes");
  expect(R"({"dtype":"F16","shape":[5],"data_offsets":[0,10]})", "not within 8 bytes");
  expect(R"({"dtype":"F16","shape":[1],"data_offsets":[4,2]})", "not within");
  expect(R"({"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,8]})", "too large");
  expect(R"({"dtype":"F16","shape":[4],"data_offsets":[0,8,9]})", "two numbers");
  expect(R"({"dtype":"F16","shape":[4]})", "lacks");
  expect(R"({"dtype":"F16","shape":["4"],"data_offsets":[0,8]})", "have \"4\"");
  expect(R"({"dtype":"F16","shape":[4.5],"data_offsets":[0,8]})", "have 4.5, must have whole");
  expect(R"({"dtype":"F16","shape":[-4],"data_offsets":[0,8]})", "have -4, must have whole");
  expect(R"({"dtype":"F16","shape":[4],"data_offsets":[1e30,8]})", "have 1e+30, must have whole");
  expect("7", "lacks");
  EXPECT_NE(refusal_of(file_of("[]", "")).find("not an object"), std::string::npos);
  EXPECT_NE(refusal_of(std::string(8, '\xff') + header).find("within its header"),
            std::string::npos);
}

// Bytes changed, removed or doubled at random: a file is read or refused in one line.
TEST(safetensors, survives_random_changes) {
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 20000; ++repeat) {
    std::string file = file_of(header, data);
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % file.size();
      switch (random() % 4) {
        case 0:
          file[at] = static_cast<char>(random());
          break;
        case 1:
          file[at] = R"({}[],:"0123456789-.eF)"[random() % 21];
          break;
        case 2:
          file.erase(at, 1 + random() % 8);
          break;
        default:
          file.insert(at, file.substr(at, random() % 16));
      }
      if (file.empty()) break;
    }
    const std::string refusal = refusal_of(file);
    ASSERT_EQ(refusal.find('\n'), std::string::npos) << refusal;
  }
}

}  // namespace
