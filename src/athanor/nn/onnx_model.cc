// ONNX files through ONNX Runtime, whose library is opened when the first model is.
#include <ATen/ATen.h>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/nn/foreign_model.h"

#ifdef ATHANOR_HAS_ONNX
#include <dlfcn.h>

#include <cstdlib>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#endif

namespace athanor {

#ifdef ATHANOR_HAS_ONNX
namespace {

namespace fs = std::filesystem;

struct Runtime {
  std::string info;  // empty: not at hand, for the reason in `fault`
  std::string fault;
};

const Runtime& TheRuntime() {
  static const Runtime runtime = [] {
    std::vector<std::string> tried;
    if (const char* chosen = std::getenv("ATHANOR_ONNXRUNTIME")) {
      tried.push_back((fs::path(chosen) / "lib/libonnxruntime.so.1").string());
    }
    if (const char* home = std::getenv("HOME")) {
      tried.push_back(
          (fs::path(home) / ".cache/athanor/onnxruntime/lib/libonnxruntime.so.1").string());
    }
    tried.insert(tried.end(), {ATHANOR_ONNX_LIBRARY, "libonnxruntime.so.1", "libonnxruntime.so"});
    Runtime found;
    for (const std::string& path : tried) {
      if (path.empty() || (path[0] == '/' && !fs::exists(path))) continue;
      // Never closed: its threads outlive us.
      void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) {
        found.fault = ::dlerror();
        continue;
      }
      using GetBase = const OrtApiBase*(ORT_API_CALL*)();
      const auto get_base = reinterpret_cast<GetBase>(::dlsym(library, "OrtGetApiBase"));
      const OrtApi* api = get_base == nullptr ? nullptr : get_base()->GetApi(ORT_API_VERSION);
      if (api == nullptr) {
        found.fault = path + " is older than the headers of this build, interface " +
                      std::to_string(ORT_API_VERSION);
        continue;
      }
      Ort::InitApi(api);
      found.info = std::string("ONNX Runtime ") + get_base()->GetVersionString() + ", " + path;
      return found;
    }
    if (found.fault.empty()) found.fault = "its library was not found";
    return found;
  }();
  return runtime;
}

at::ScalarType TypeOf(ONNXTensorElementDataType type, const std::string& where) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return at::kFloat;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return at::kHalf;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return at::kDouble;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return at::kLong;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return at::kInt;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return at::kByte;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return at::kChar;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return at::kBool;
    default:
      throw Error(
          StrCat(where, ": elements of ONNX type ", static_cast<int>(type), " are not read"));
  }
}

ONNXTensorElementDataType OnnxType(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case at::kDouble:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case at::kLong:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case at::kInt:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case at::kByte:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case at::kChar:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case at::kBool:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    default:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
}

std::string FirstLine(const char* message) {
  const std::string_view text(message);
  return std::string(text.substr(0, text.find('\n')));
}

class OnnxModel : public ForeignModel {
 public:
  explicit OnnxModel(const fs::path& path) : path_(path.string()) {
    try {
      environment_ = Ort::Env(ORT_LOGGING_LEVEL_FATAL, "athanor");
      Ort::SessionOptions options;
      options.SetIntraOpNumThreads(NumThreads());
      // Idle threads must not keep the cores from our own loops.
      options.AddConfigEntry("session.intra_op.allow_spinning", "0");
      options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
      session_ = Ort::Session(environment_, path_.c_str(), options);
      Ort::AllocatorWithDefaultOptions allocator;
      for (size_t i = 0; i < session_.GetInputCount(); ++i) {
        inputs_.push_back(PortOf(session_.GetInputNameAllocated(i, allocator).get(),
                                 session_.GetInputTypeInfo(i)));
      }
      for (size_t i = 0; i < session_.GetOutputCount(); ++i) {
        outputs_.push_back(PortOf(session_.GetOutputNameAllocated(i, allocator).get(),
                                  session_.GetOutputTypeInfo(i)));
      }
    } catch (const Ort::Exception& error) {
      throw Error(path_ + ": ONNX Runtime refuses it: " + FirstLine(error.what()));
    }
  }

  const std::vector<ForeignPort>& inputs() const override { return inputs_; }
  const std::vector<ForeignPort>& outputs() const override { return outputs_; }

  std::vector<at::Tensor> Run(const NamedTensors& inputs,
                              const std::vector<std::string>& outputs) override {
    const std::vector<at::Tensor> arranged =
        internal::ArrangeInputs(inputs, inputs_, at::kCPU, path_);
    std::vector<const char*> input_names, output_names;
    for (const ForeignPort& port : inputs_) input_names.push_back(port.name.c_str());
    for (const std::string& name : outputs) {
      CheckHasOutput(name);
      output_names.push_back(name.c_str());
    }
    if (outputs.empty()) {
      for (const ForeignPort& port : outputs_) output_names.push_back(port.name.c_str());
    }
    try {
      const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
      std::vector<Ort::Value> values;
      for (const at::Tensor& tensor : arranged) {
        values.push_back(Ort::Value::CreateTensor(memory, tensor.data_ptr(), tensor.nbytes(),
                                                  tensor.sizes().data(), tensor.dim(),
                                                  OnnxType(tensor.scalar_type())));
      }
      std::vector<Ort::Value> results =
          session_.Run(Ort::RunOptions{nullptr}, input_names.data(), values.data(), values.size(),
                       output_names.data(), output_names.size());
      std::vector<at::Tensor> tensors;
      for (size_t i = 0; i < results.size(); ++i) {
        const auto info = results[i].GetTensorTypeAndShapeInfo();
        const at::ScalarType type = TypeOf(info.GetElementType(), path_);
        tensors.push_back(
            at::from_blob(results[i].GetTensorMutableRawData(), info.GetShape(), type).clone());
      }
      return tensors;
    } catch (const Ort::Exception& error) {
      throw Error(path_ + ": ONNX Runtime failed: " + FirstLine(error.what()));
    }
  }

 private:
  ForeignPort PortOf(std::string name, const Ort::TypeInfo& type) const {
    ATHANOR_CHECK(type.GetONNXType() == ONNX_TYPE_TENSOR, path_, ": '", name, "' is no tensor");
    const auto info = type.GetTensorTypeAndShapeInfo();
    const at::ScalarType element = TypeOf(info.GetElementType(), path_ + ": '" + name + "'");
    return {std::move(name), element, info.GetShape()};
  }

  void CheckHasOutput(const std::string& name) const {
    std::string names;
    for (const ForeignPort& port : outputs_) {
      if (port.name == name) return;
      names += (names.empty() ? "'" : ", '") + port.name + "'";
    }
    throw Error(path_ + ": has no output '" + name + "', but " + names);
  }

  std::string path_;
  Ort::Env environment_{nullptr};
  Ort::Session session_{nullptr};
  std::vector<ForeignPort> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<ForeignModel> OpenOnnxModel(const std::filesystem::path& path) {
  ATHANOR_CHECK(fs::is_regular_file(path), path.string(), ": no such file");
  const Runtime& runtime = TheRuntime();
  ATHANOR_CHECK(!runtime.info.empty(), path.string(), ": cannot open ONNX Runtime: ", runtime.fault,
                "; scripts/setup.sh fetches it");
  return std::make_unique<OnnxModel>(path);
}

std::string OnnxRuntimeInfo() { return TheRuntime().info; }

#else

std::unique_ptr<ForeignModel> OpenOnnxModel(const std::filesystem::path& path) {
  throw Error(path.string() + ": this build has no ONNX Runtime (-DATHANOR_WITH_ONNX=ON)");
}

std::string OnnxRuntimeInfo() { return {}; }

#endif

}  // namespace athanor
