// A trained network of others, as a file: ONNX or TorchScript. Tensors go in and come out by name.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace athanor {

// An input or output as the file declares it.
struct ForeignPort {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<int64_t> shape;  // -1: any size. Empty where the file does not say.
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class ForeignModel {
 public:
  virtual ~ForeignModel() = default;

  // In the order of the file. Of a TorchScript method the arguments have names, the results are
  // "0", "1" ..., as many as come.
  virtual const std::vector<ForeignPort>& inputs() const = 0;
  virtual const std::vector<ForeignPort>& outputs() const = 0;

  // Every input once, of the declared type (floats are converted) and shape, on any device. Returns
  // the `outputs` in that order (all when empty), dense, on the CPU, in their own types. Not
  // thread-safe. Throws Error: file, input or output, what was expected and what was found.
  virtual std::vector<at::Tensor> Run(const NamedTensors& inputs,
                                      const std::vector<std::string>& outputs) = 0;
  // The only output, of the only input.
  at::Tensor Run(const at::Tensor& input);
};

// By content. `method` is that of a TorchScript module (CLIP has "encode_image" and "encode_text"),
// unused for ONNX. Runs on NumThreads() threads. Throws Error: no such file, damaged, needs a later
// runtime, or this build or machine lacks the runtime.
std::unique_ptr<ForeignModel> OpenForeignModel(const std::filesystem::path& path,
                                               const std::string& method = "forward",
                                               const c10::Device& device = c10::kCPU);

// One for each format. ONNX runs on the CPU.
std::unique_ptr<ForeignModel> OpenOnnxModel(const std::filesystem::path& path);
// Constants that a traced module keeps of the GPU that it was traced on ("cuda:0", half precision)
// become those of `device`.
std::unique_ptr<ForeignModel> OpenTorchScriptModel(const std::filesystem::path& path,
                                                   const std::string& method,
                                                   const c10::Device& device);

// "ONNX Runtime 1.30.0, /path/of/library"; empty where it is not at hand.
std::string OnnxRuntimeInfo();

namespace internal {
// Throws unless `inputs` are those of `ports`, each once, with shapes that fit; returns them in the
// order of the ports, dense, on `device`, floats in the declared precision.
std::vector<at::Tensor> ArrangeInputs(const NamedTensors& inputs,
                                      const std::vector<ForeignPort>& ports,
                                      const c10::Device& device, const std::string& where);
}  // namespace internal

}  // namespace athanor
