#include "athanor/nn/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

std::filesystem::path TestPath(const char* name) { return TestFolder(name) / name; }

TEST(SafeTensorsTest, RoundTripKeepsNamesTypesShapesAndBytes) {
  SafeTensors written;
  written.metadata["step"] = "12";
  written.tensors.emplace_back("a", at::arange(6, at::kFloat).view({2, 3}));
  written.tensors.emplace_back("b", at::arange(4, at::kInt));
  written.tensors.emplace_back("c", at::ones({3}, at::kBFloat16));
  written.tensors.emplace_back("none", at::empty({0, 5}, at::kFloat));
  const auto path = TestPath("round.safetensors");
  WriteSafeTensors(path, written);
  const SafeTensors read = ReadSafeTensors(path);
  EXPECT_EQ(read.metadata.at("step"), "12");
  ASSERT_EQ(read.tensors.size(), written.tensors.size());
  for (size_t i = 0; i < read.tensors.size(); ++i) {
    EXPECT_EQ(read.tensors[i].first, written.tensors[i].first);
    EXPECT_EQ(read.tensors[i].second.scalar_type(), written.tensors[i].second.scalar_type());
    EXPECT_TRUE(at::equal(read.tensors[i].second, written.tensors[i].second));
  }
}

TEST(SafeTensorsTest, EveryTruncationIsRefused) {
  SafeTensors written;
  written.tensors.emplace_back("weights", at::arange(10, at::kFloat));
  const auto path = TestPath("whole.safetensors"), cut = TestPath("cut.safetensors");
  WriteSafeTensors(path, written);
  const std::string bytes = ReadFile(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    WriteFile(cut, std::string_view(bytes).substr(0, size));
    EXPECT_THROW(ReadSafeTensors(cut), Error) << size;
  }
}

TEST(SafeTensorsTest, LyingHeadersAreRefusedByName) {
  const auto path = TestPath("lie.safetensors");
  const auto refuse = [&](std::string header, const char* expected) {
    const uint64_t length = header.size();
    WriteFile(path, std::string(reinterpret_cast<const char*>(&length), 8) + header + "12345678");
    try {
      ReadSafeTensors(path);
      ADD_FAILURE() << header;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(expected));
      EXPECT_THAT(error.what(), testing::HasSubstr("lie.safetensors"));
    }
  };
  refuse(R"({"a":{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,8]}})", "shape");
  refuse(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "expected 12 bytes");
  refuse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,80]}})", "do not lie");
  refuse(R"({"a":{"dtype":"Q3","shape":[2],"data_offsets":[0,8]}})", "Q3");
  refuse(R"({"a":{"shape":[2]}})", "'a'");
  refuse(R"([1])", "JSON object");
}

}  // namespace
}  // namespace athanor
