// The safetensors file format (huggingface/safetensors): named tensors behind a JSON header. Used
// for checkpoints and weights; any tool that reads the format opens them.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace athanor {

struct SafeTensors {
  std::vector<std::pair<std::string, at::Tensor>> tensors;  // dense, on the CPU
  std::map<std::string, std::string> metadata;

  // Throws Error, naming `where`, when there is none of that name.
  const at::Tensor& Get(const std::string& name, std::string_view where) const;
};

// Types: f64 f32 f16 bf16 i64 i32 u8. Written aside and renamed. Throws Error.
void WriteSafeTensors(const std::filesystem::path& path, const SafeTensors& content);

// Throws Error (path, tensor, expectation) for a damaged, truncated or lying file.
SafeTensors ReadSafeTensors(const std::filesystem::path& path);

}  // namespace athanor
