// TorchScript files.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <functional>

#include "athanor/base/error.h"
#include "athanor/nn/foreign_model.h"

namespace athanor {
namespace {

namespace jit = torch::jit;

constexpr int64_t kHalfConstant = static_cast<int64_t>(at::kHalf);
constexpr int64_t kFloatConstant = static_cast<int64_t>(at::kFloat);

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// The reason at the end of a report of the interpreter, which begins with a listing of the source.
std::string Reason(const std::exception& error) {
  const std::string text = error.what();
  const size_t marker = text.find("RuntimeError: ");
  return FirstLine(marker == std::string::npos ? text : text.substr(marker + 14));
}

void ForEachNode(jit::Block* block, const std::function<void(jit::Node*)>& visit) {
  for (jit::Node* node : block->nodes()) {
    visit(node);
    for (jit::Block* inner : node->blocks()) ForEachNode(inner, visit);
  }
}

// A module that was traced on a GPU has the GPU, and half precision, written into its code.
void Move(jit::Graph& graph, const c10::Device& device) {
  ForEachNode(graph.block(), [&](jit::Node* node) {
    if (node->kind() == c10::prim::Constant && node->hasAttribute(c10::attr::value) &&
        node->kindOf(c10::attr::value) == jit::AttributeKind::s) {
      if (node->s(c10::attr::value).starts_with("cuda")) {
        node->s_(c10::attr::value, device.str());
      }
    } else if (node->kind() == c10::aten::to && device.is_cpu()) {
      // A new constant: the old one may serve as another number elsewhere.
      for (size_t i = 1; i < node->inputs().size(); ++i) {
        const jit::Node* source = node->input(i)->node();
        if (source->kind() == c10::prim::Constant && source->hasAttribute(c10::attr::value) &&
            source->kindOf(c10::attr::value) == jit::AttributeKind::i &&
            source->i(c10::attr::value) == kHalfConstant) {
          const jit::WithInsertPoint here(node);
          node->replaceInput(i, graph.insertConstant(kFloatConstant));
        }
      }
    }
  });
}

class TorchScriptModel : public ForeignModel {
 public:
  TorchScriptModel(const std::filesystem::path& path, const std::string& method,
                   const c10::Device& device)
      : path_(path.string()), method_name_(method), device_(device) {
    try {
      module_ = jit::load(path_, device);
      module_.eval();
      if (device.is_cpu()) module_.to(at::kFloat);
    } catch (const std::exception& error) {
      throw Error(path_ + ": not a TorchScript file that this Torch reads: " + Reason(error));
    }
    const auto method_found = module_.find_method(method);
    ATHANOR_CHECK(method_found.has_value(), path_, ": has no method '", method, "'");
    for (const jit::Module& part : module_.modules()) {
      for (const jit::Method& each : part.get_methods()) Move(*each.graph(), device);
    }
    const auto& schema = method_found->function().getSchema();
    for (size_t i = 1; i < schema.arguments().size(); ++i) {
      const auto& argument = schema.arguments()[i];
      ATHANOR_CHECK(argument.type()->isSubtypeOf(*c10::TensorType::get()), path_, ": argument '",
                    argument.name(), "' of '", method, "' is no tensor");
      inputs_.push_back({argument.name(), at::kFloat, {}});
    }
  }

  const std::vector<ForeignPort>& inputs() const override { return inputs_; }
  const std::vector<ForeignPort>& outputs() const override { return outputs_; }

  std::vector<at::Tensor> Run(const NamedTensors& inputs,
                              const std::vector<std::string>& outputs) override {
    // A method declares no types: integers stay what they are.
    std::vector<ForeignPort> ports = inputs_;
    for (ForeignPort& port : ports) {
      for (const auto& [name, tensor] : inputs) {
        if (name == port.name && !at::isFloatingType(tensor.scalar_type())) {
          port.type = tensor.scalar_type();
        }
      }
    }
    std::vector<c10::IValue> stack;
    for (at::Tensor& tensor : internal::ArrangeInputs(inputs, ports, device_, path_)) {
      stack.emplace_back(std::move(tensor));
    }
    c10::IValue result;
    try {
      const c10::InferenceMode inference;
      result = module_.get_method(method_name_)(std::move(stack));
    } catch (const std::exception& error) {
      throw Error(path_ + ": '" + method_name_ + "' failed: " + Reason(error));
    }
    std::vector<at::Tensor> all;
    const auto add = [&](const c10::IValue& value) {
      ATHANOR_CHECK(value.isTensor(), path_, ": '", method_name_, "' should return tensors, found ",
                    value.tagKind());
      all.push_back(value.toTensor().to(at::kCPU).contiguous());
    };
    if (result.isTuple()) {
      for (const c10::IValue& value : result.toTupleRef().elements()) add(value);
    } else if (result.isTensorList()) {
      for (const at::Tensor& tensor : result.toTensorVector()) add(tensor);
    } else {
      add(result);
    }
    if (outputs.empty()) return all;
    std::vector<at::Tensor> chosen;
    for (const std::string& name : outputs) {
      const bool is_number =
          !name.empty() && name.size() < 4 &&
          std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
      const size_t index = is_number ? std::stoul(name) : all.size();
      ATHANOR_CHECK(index < all.size(), path_, ": has no output '", name, "'; '", method_name_,
                    "' returned ", all.size(), ", named from \"0\"");
      chosen.push_back(all[index]);
    }
    return chosen;
  }

 private:
  std::string path_, method_name_;
  c10::Device device_;
  jit::Module module_;
  std::vector<ForeignPort> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<ForeignModel> OpenTorchScriptModel(const std::filesystem::path& path,
                                                   const std::string& method,
                                                   const c10::Device& device) {
  ATHANOR_CHECK(std::filesystem::is_regular_file(path), path.string(), ": no such file");
  return std::make_unique<TorchScriptModel>(path, method, device);
}

}  // namespace athanor
