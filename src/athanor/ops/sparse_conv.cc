#include "athanor/ops/sparse_conv.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "athanor/ops/device.h"

namespace athanor {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

#ifdef ATHANOR_HAS_CUDA
// The map as the CUDA kernels read it: [K,num_outputs] i32, the input of each output or -1.
at::Tensor TableOf(const KernelMap& map, const c10::Device& device) {
  const at::Tensor table = at::full({map.volume, map.num_outputs}, -1, at::kInt);
  auto* out = table.data_ptr<int32_t>();
  for (size_t b = 0; b < map.blocks.size(); ++b) {
    const MapBlock& block = map.blocks[b];
    for (int k = 0; k < map.volume; ++k) {
      for (int32_t i = block.starts[k]; i < block.starts[k + 1]; ++i) {
        out[k * map.num_outputs + static_cast<int64_t>(b) * kMapBlock + block.outputs[i]] =
            block.inputs[i];
      }
    }
  }
  return table.to(device);
}

void* StreamOf(const c10::Device& device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}
#endif

struct Product {
  const KernelMap* map;
  bool transposed, mirrored;  // of the weights
  ConvPrecision precision;
};

// features over the map with weights [K,in,out], or with these transposed.
at::Tensor Multiply(const at::Tensor& features, const at::Tensor& weights, const Product& product) {
  const auto volume = static_cast<int>(weights.size(0));
  const auto in = static_cast<int>(weights.size(1)), out = static_cast<int>(weights.size(2));
  const int channels = product.transposed ? in : out;
  const at::Tensor result =
      at::empty({product.map->num_outputs, channels}, features.options().dtype(at::kFloat));
#ifdef ATHANOR_HAS_CUDA
  if (features.is_cuda()) {
    const c10::DeviceGuard guard(features.device());
    const at::Tensor table = TableOf(*product.map, features.device());
    const at::Tensor used = product.mirrored ? weights.flip({0}).contiguous() : weights;
    SparseConvTableArgs args = {};
    args.table = table.data_ptr<int32_t>(), args.num_outputs = product.map->num_outputs;
    args.volume = volume, args.transposed = product.transposed;
    args.in_channels = product.transposed ? out : in, args.out_channels = channels;
    args.features = features.data_ptr<float>(), args.weights = used.data_ptr<float>();
    args.out = result.data_ptr<float>();
    SparseConvForwardCuda(args, StreamOf(features.device()));
    return result;
  }
#endif
  const PackedWeights packed(weights.data_ptr<float>(), {volume, in, out, product.transposed,
                                                         product.mirrored, product.precision});
  FusedConv fused;
  fused.weights = &packed;
  const bool rounded = product.precision == ConvPrecision::kBfloat16;
  return SparseConvFused(rounded ? features.to(at::kBFloat16) : features, *product.map, fused);
}

struct ConvSettings {
  ConvMap map;
  ConvPrecision precision;
};

// Keeps the maps alive as long as the graph that needs them.
struct SettingsHolder : torch::CustomClassHolder {
  explicit SettingsHolder(ConvSettings settings) : value(std::move(settings)) {}
  ConvSettings value;
};

struct SparseConvFunction : Function<SparseConvFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& features,
                            const at::Tensor& weights, const ConvSettings& settings) {
    context->save_for_backward({features, weights});
    context->saved_data["settings"] =
        c10::IValue::make_capsule(c10::make_intrusive<SettingsHolder>(settings));
    return Multiply(features, weights, {settings.map.map.get(), false, false, settings.precision});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ATHANOR_CHECK(!c10::GradMode::is_enabled(),
                  "backward of a sparse convolution: expected create_graph to be off, as there are "
                  "no second derivatives");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &features = saved[0], &weights = saved[1];
    const auto holder = context->saved_data["settings"].toCapsule();
    const ConvSettings& settings = static_cast<const SettingsHolder*>(holder.get())->value;
    const ConvMap& maps = settings.map;
    const at::Tensor d_out = gradients[0].contiguous();
    at::Tensor d_features, d_weights;
    if (context->needs_input_grad(0)) {
      const bool mirrored = maps.transposed == nullptr;
      d_features = Multiply(
          d_out, weights,
          {mirrored ? maps.map.get() : maps.transposed.get(), true, mirrored, settings.precision});
    }
    if (context->needs_input_grad(1)) {
      d_weights = at::empty_like(weights);
      const auto in = static_cast<int>(weights.size(1)), out = static_cast<int>(weights.size(2));
#ifdef ATHANOR_HAS_CUDA
      if (features.is_cuda()) {
        const c10::DeviceGuard guard(features.device());
        const at::Tensor table = TableOf(*maps.map, features.device());
        SparseConvBackwardWeightsCuda(
            {table.data_ptr<int32_t>(), maps.map->num_outputs, maps.map->volume, in, out,
             features.data_ptr<float>(), d_out.data_ptr<float>(), d_weights.data_ptr<float>()},
            StreamOf(features.device()));
        return {d_features, d_weights, at::Tensor()};
      }
#endif
      SparseConvBackwardWeightsCpu({maps.map.get(), in, out, features.data_ptr<float>(),
                                    d_out.data_ptr<float>(), d_weights.data_ptr<float>()});
    }
    return {d_features, d_weights, at::Tensor()};
  }
};

}  // namespace

const ConvMap& VoxelGrid::Submanifold(int kernel_size) {
  ConvMap& map = submanifold_[kernel_size];
  if (map.map == nullptr) {
    map.map = std::make_shared<KernelMap>(SubmanifoldMapCpu(voxels_, kernel_size));
  }
  return map;
}

const VoxelGrid::Strided& VoxelGrid::Down(int kernel_size, int stride) {
  Strided& down = strided_[{kernel_size, stride}];
  if (down.grid == nullptr) {
    StridedMaps maps = StridedMapsCpu(voxels_, kernel_size, stride);
    down.map = {std::make_shared<KernelMap>(std::move(maps.map)),
                std::make_shared<KernelMap>(std::move(maps.transposed))};
    down.grid = std::make_shared<VoxelGrid>(std::move(maps.outputs));
  }
  return down;
}

VoxelizedPoints VoxelizePoints(const at::Tensor& points, const at::Tensor& batch,
                               double voxel_size) {
  const at::Tensor dense = points.contiguous();
  CheckTensor(dense, "points", at::kFloat, at::kCPU, {-1, 3});
  const int64_t n = dense.size(0);
  at::Tensor dense_batch;
  if (batch.defined()) {
    dense_batch = batch.contiguous();
    CheckTensor(dense_batch, "batch", at::kInt, at::kCPU, {n});
  }
  std::vector<int32_t> rank;
  VoxelSet set =
      Voxelize(dense.data_ptr<float>(), batch.defined() ? dense_batch.data_ptr<int32_t>() : nullptr,
               n, voxel_size, &rank);
  VoxelizedPoints result;
  result.members = GroupByVoxel(rank, set.size());
  result.grid = std::make_shared<VoxelGrid>(std::move(set));
  result.voxel_of_point = at::empty({n}, at::kLong);
  std::copy(rank.begin(), rank.end(), result.voxel_of_point.data_ptr<int64_t>());
  return result;
}

at::Tensor VoxelMeans(const VoxelizedPoints& points, const at::Tensor& features) {
  const at::Tensor dense = features.contiguous();
  CheckTensor(dense, "features", at::kFloat, at::kCPU, {points.voxel_of_point.size(0), -1});
  const at::Tensor means = at::empty({points.grid->size(), dense.size(1)}, at::kFloat);
  VoxelMeansCpu(points.members, dense.data_ptr<float>(), static_cast<int>(dense.size(1)),
                means.data_ptr<float>());
  return means;
}

at::Tensor SparseConv(const at::Tensor& features, const at::Tensor& weights, const ConvMap& map,
                      ConvPrecision precision) {
  const c10::Device device = KernelDevice(features, "features");
  ATHANOR_CHECK(map.map != nullptr, "sparse convolution: expected a kernel map, found none");
  const at::Tensor dense_features = features.contiguous(), dense_weights = weights.contiguous();
  CheckTensor(dense_weights, "weights", at::kFloat, device, {map.map->volume, -1, -1});
  CheckTensor(dense_features, "features", at::kFloat, device,
              {map.map->num_inputs, weights.size(1)});
  return SparseConvFunction::apply(dense_features, dense_weights, ConvSettings{map, precision});
}

at::Tensor SparseConvFused(const at::Tensor& features, const KernelMap& map,
                           const FusedConv& conv) {
  const PackedWeights& weights = *conv.weights;
  const bool rounded = weights.precision() == ConvPrecision::kBfloat16;
  const at::Tensor dense = features.contiguous();
  ATHANOR_CHECK(IsHost(dense.device()), "features: expected device cpu, found ", dense.device());
  CheckTensor(dense, "features", rounded ? at::kBFloat16 : at::kFloat, dense.device(),
              {map.num_inputs, weights.in_channels()});
  const at::Tensor out =
      at::empty({map.num_outputs, weights.out_channels()}, dense.options().dtype(conv.out));
  SparseConvForwardArgs args = {};
  args.map = &map, args.weights = &weights;
  args.features = dense.data_ptr();
  if (conv.bias.defined()) {
    CheckTensor(conv.bias, "bias", at::kFloat, dense.device(), {weights.out_channels()});
    args.bias = conv.bias.data_ptr<float>();
  }
  if (conv.residual.defined()) {
    CheckTensor(conv.residual, "residual", conv.out, dense.device(),
                {map.num_outputs, weights.out_channels()});
    args.residual = conv.residual.data_ptr();
  }
  args.relu = conv.relu, args.out_is_bfloat16 = conv.out == at::kBFloat16;
  args.out = out.data_ptr();
  SparseConvForwardCpu(args);
  return out;
}

}  // namespace athanor
