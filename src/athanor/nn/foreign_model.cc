#include "athanor/nn/foreign_model.h"

#include <ATen/ATen.h>

#include <fstream>

#include "athanor/base/error.h"

namespace athanor {
namespace {

std::string Names(const std::vector<ForeignPort>& ports) {
  std::string names;
  for (const ForeignPort& port : ports) names += (names.empty() ? "'" : ", '") + port.name + "'";
  return names.empty() ? "none" : names;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    if (text.size() > 1) text += ",";
    text += size < 0 ? "?" : std::to_string(size);
  }
  return text + "]";
}

bool Fits(const at::Tensor& tensor, const std::vector<int64_t>& shape) {
  if (static_cast<size_t>(tensor.dim()) != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] >= 0 && shape[i] != tensor.size(static_cast<int64_t>(i))) return false;
  }
  return true;
}

}  // namespace

namespace internal {

std::vector<at::Tensor> ArrangeInputs(const NamedTensors& inputs,
                                      const std::vector<ForeignPort>& ports,
                                      const c10::Device& device, const std::string& where) {
  ATHANOR_CHECK(inputs.size() == ports.size(), where, ": takes ", ports.size(), " inputs (",
                Names(ports), "), found ", inputs.size());
  std::vector<at::Tensor> arranged;
  for (const ForeignPort& port : ports) {
    const at::Tensor* found = nullptr;
    for (const auto& [name, tensor] : inputs) {
      if (name == port.name) found = &tensor;
    }
    ATHANOR_CHECK(found != nullptr && found->defined(), where, ": input '", port.name,
                  "' was not given");
    ATHANOR_CHECK(port.shape.empty() || Fits(*found, port.shape), where, ": input '", port.name,
                  "' should be ", ShapeText(port.shape), ", found ",
                  ShapeText(found->sizes().vec()));
    const bool both_float =
        at::isFloatingType(port.type) && at::isFloatingType(found->scalar_type());
    const bool both_integer =
        at::isIntegralType(port.type, true) && at::isIntegralType(found->scalar_type(), true);
    ATHANOR_CHECK(both_float || both_integer, where, ": input '", port.name, "' should be of type ",
                  port.type, ", found ", found->scalar_type());
    arranged.push_back(found->detach().to(device, port.type).contiguous());
  }
  return arranged;
}

}  // namespace internal

at::Tensor ForeignModel::Run(const at::Tensor& input) {
  const auto name = inputs().empty() ? std::string() : inputs().front().name;
  std::vector<at::Tensor> found = Run({{name, input}}, {});
  ATHANOR_CHECK(found.size() == 1, "expected a network of one output, found ", found.size());
  return found.front();
}

std::unique_ptr<ForeignModel> OpenForeignModel(const std::filesystem::path& path,
                                               const std::string& method,
                                               const c10::Device& device) {
  std::ifstream file(path, std::ios::binary);
  ATHANOR_CHECK(file.good(), path.string(), ": no such file, or no permission");
  char head[4] = {};
  file.read(head, sizeof(head));
  ATHANOR_CHECK(file.gcount() == sizeof(head), path.string(), ": too short for a network, ",
                file.gcount(), " bytes");
  // TorchScript files are zip archives.
  if (std::string_view(head, 4) == "PK\x03\x04") return OpenTorchScriptModel(path, method, device);
  ATHANOR_CHECK(device.is_cpu(), path.string(), ": ONNX models run on the CPU, not on ", device);
  return OpenOnnxModel(path);
}

}  // namespace athanor
