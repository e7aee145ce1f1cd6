#include "athanor/nn/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {{"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
                               {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
                               {"U8", at::kByte}};

const char* NameOf(at::ScalarType type) {
  for (const TypeName& t : kTypes) {
    if (t.type == type) return t.name;
  }
  throw Error(StrCat("safetensors: tensors of type ", c10::toString(type), " are not supported"));
}

}  // namespace

const at::Tensor& SafeTensors::Get(const std::string& name, std::string_view where) const {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  throw Error(StrCat(where, ": expected a tensor named '", name, "', found none"));
}

void WriteSafeTensors(const std::filesystem::path& path, const SafeTensors& content) {
  nlohmann::ordered_json header;
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  size_t offset = 0;
  for (const auto& [name, tensor] : content.tensors) {
    const size_t size = tensor.nbytes();
    header[name] = {{"dtype", NameOf(tensor.scalar_type())},
                    {"shape", std::vector<int64_t>(tensor.sizes().begin(), tensor.sizes().end())},
                    {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps the data aligned
  const uint64_t length = text.size();
  FileWriter file(path);
  file.Write({reinterpret_cast<const char*>(&length), sizeof length});
  file.Write(text);
  for (const auto& [name, tensor] : content.tensors) {
    const at::Tensor dense = tensor.to(at::kCPU).contiguous();
    file.Write({static_cast<const char*>(dense.data_ptr()), dense.nbytes()});
  }
  file.Commit();
}

SafeTensors ReadSafeTensors(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path);
  const std::string name = path.string();
  ByteReader reader(bytes, name);
  const uint64_t length = reader.ReadCount(1, "the length of the header");
  const std::string_view text = reader.Take(length, "the header");
  const nlohmann::ordered_json header = nlohmann::ordered_json::parse(text, nullptr, false);
  ATHANOR_CHECK(header.is_object(), name, ": byte 8: expected a JSON object as header");
  const std::string_view data = reader.Take(reader.remaining(), "data");
  SafeTensors content;
  for (const auto& [key, entry] : header.items()) {
    try {
      if (key == "__metadata__") {
        content.metadata = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      const auto type_name = entry.at("dtype").get<std::string>();
      const auto shape = entry.at("shape").get<std::vector<int64_t>>();
      const auto begin = entry.at("data_offsets").at(0).get<uint64_t>();
      const auto end = entry.at("data_offsets").at(1).get<uint64_t>();
      const TypeName* type = nullptr;
      for (const TypeName& t : kTypes) {
        if (type_name == t.name) type = &t;
      }
      ATHANOR_CHECK(type != nullptr, name, ": tensor '", key, "': unknown type ", type_name);
      ATHANOR_CHECK(begin <= end && end <= data.size(), name, ": tensor '", key, "': bytes ", begin,
                    " to ", end, " do not lie in the ", data.size(), " bytes of data");
      // The product of the shape, which a lying header may make overflow.
      uint64_t elements = 1;
      for (const int64_t size : shape) {
        ATHANOR_CHECK(size >= 0 && (size == 0 || elements <= data.size() / size), name,
                      ": tensor '", key, "': its shape is larger than the file");
        elements *= static_cast<uint64_t>(size);
      }
      ATHANOR_CHECK(elements * c10::elementSize(type->type) == end - begin, name, ": tensor '", key,
                    "': expected ", elements * c10::elementSize(type->type), " bytes, found ",
                    end - begin);
      at::Tensor tensor = at::empty(shape, type->type);
      std::memcpy(tensor.data_ptr(), data.data() + begin, end - begin);
      content.tensors.emplace_back(key, std::move(tensor));
    } catch (const nlohmann::json::exception& error) {
      throw Error(StrCat(name, ": header entry '", key, "': ", error.what()));
    }
  }
  return content;
}

}  // namespace athanor
