// Writes small ONNX files, so that tests run the real path without the real weights.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace athanor {

// A graph in the protocol-buffer encoding of onnx.proto; as few of its fields as runtimes need.
class OnnxGraph {
 public:
  using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;

  // Sizes of -1 are free.
  void Input(const std::string& name, at::ScalarType type, const std::vector<int64_t>& shape) {
    graph_ += Bytes(11, Port(name, type, shape));
  }
  void Output(const std::string& name, at::ScalarType type, const std::vector<int64_t>& shape) {
    graph_ += Bytes(12, Port(name, type, shape));
  }
  void Constant(const std::string& name, const at::Tensor& value) {
    const at::Tensor dense = value.contiguous();
    std::string proto;
    for (const int64_t size : dense.sizes()) proto += Number(1, size);
    proto += Number(2, TypeCode(dense.scalar_type())) + Bytes(8, name);
    proto += Bytes(9, std::string_view(static_cast<const char*>(dense.data_ptr()), dense.nbytes()));
    graph_ += Bytes(5, proto);
  }
  void Node(const std::string& op, const std::vector<std::string>& inputs,
            const std::vector<std::string>& outputs,
            const std::vector<std::pair<std::string, Attribute>>& attributes = {}) {
    std::string proto;
    for (const std::string& name : inputs) proto += Bytes(1, name);
    for (const std::string& name : outputs) proto += Bytes(2, name);
    proto += Bytes(4, op);
    for (const auto& [name, value] : attributes) proto += Bytes(5, AttributeProto(name, value));
    graph_ += Bytes(1, proto);
  }
  // The file.
  std::string Model(int64_t opset = 13) const {
    return Number(1, 7) + Bytes(7, graph_ + Bytes(2, "test")) + Bytes(8, Number(2, opset));
  }

 private:
  static std::string Varint(uint64_t value) {
    std::string bytes;
    for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
    return bytes + static_cast<char>(value);
  }
  static std::string Number(int field, int64_t value) {
    return Varint(static_cast<uint64_t>(field) << 3) + Varint(static_cast<uint64_t>(value));
  }
  static std::string Bytes(int field, std::string_view bytes) {
    return Varint(static_cast<uint64_t>(field) << 3 | 2) + Varint(bytes.size()) +
           std::string(bytes);
  }
  static int64_t TypeCode(at::ScalarType type) {
    switch (type) {
      case at::kByte:
        return 2;
      case at::kInt:
        return 6;
      case at::kLong:
        return 7;
      case at::kBool:
        return 9;
      case at::kHalf:
        return 10;
      case at::kDouble:
        return 11;
      default:
        return 1;
    }
  }
  static std::string Port(const std::string& name, at::ScalarType type,
                          const std::vector<int64_t>& shape) {
    std::string sizes;
    for (const int64_t size : shape) {
      sizes +=
          Bytes(1, size < 0 ? Bytes(2, "any" + std::to_string(sizes.size())) : Number(1, size));
    }
    return Bytes(1, name) + Bytes(2, Bytes(1, Number(1, TypeCode(type)) + Bytes(2, sizes)));
  }
  static std::string AttributeProto(const std::string& name, const Attribute& value) {
    std::string proto = Bytes(1, name);
    if (const auto* number = std::get_if<int64_t>(&value)) {
      proto += Number(3, *number) + Number(20, 2);
    } else if (const auto* real = std::get_if<float>(&value)) {
      proto += Varint(2 << 3 | 5);
      proto.append(reinterpret_cast<const char*>(real), sizeof(float));
      proto += Number(20, 1);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      proto += Bytes(4, *text) + Number(20, 3);
    } else {
      for (const int64_t each : std::get<std::vector<int64_t>>(value)) proto += Number(8, each);
      proto += Number(20, 7);
    }
    return proto;
  }

  std::string graph_;
};

}  // namespace athanor
