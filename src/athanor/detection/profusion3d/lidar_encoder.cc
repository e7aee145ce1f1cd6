#include "athanor/detection/profusion3d/lidar_encoder.h"

#include <ATen/ATen.h>

#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

// Of a voxel's points, means: place within the voxel (3), height in metres, intensity, time.
constexpr int kVoxelFeatures = 6;

}  // namespace

LidarEncoder::LidarEncoder(const LayerScope& scope, const BevGrid& grid,
                           const LidarEncoderOptions& options)
    : grid_(grid), options_(options) {
  ATHANOR_CHECK(!options.channels.empty(), "LiDAR encoder: expected at least one stage");
  const auto factor = static_cast<float>(int64_t{1} << (options.channels.size() - 1));
  for (const int axis : {0, 1}) {
    ATHANOR_CHECK(std::abs(options.voxel_m[axis] * factor - grid.cell_m) < 1e-4f * grid.cell_m,
                  "LiDAR encoder: expected cells of ", factor, " voxels of ", options.voxel_m[axis],
                  " m, found ", grid.cell_m, " m");
  }
  const double height = grid.range_m[5] - grid.range_m[2];
  slices_ = static_cast<int64_t>(std::ceil(height / (options.voxel_m[2] * factor) - 1e-4));
  int64_t in = kVoxelFeatures;
  for (size_t s = 0; s < options.channels.size(); ++s) {
    const LayerScope stage_scope = scope / ("stage" + std::to_string(s));
    const int64_t out = options.channels[s];
    Stage& stage = stages_.emplace_back();
    stage.down = AddLayer(stage_scope, "down", 3, in, out);
    for (int b = 0; b < options.blocks; ++b) {
      const std::string name = "block" + std::to_string(b);
      stage.blocks.emplace_back(AddLayer(stage_scope, name + ".first", 3, out, out),
                                AddLayer(stage_scope, name + ".second", 3, out, out));
    }
    in = out;
  }
  fold_ = Convolution2d(scope / "fold", in * slices_, options.width, {.kernel = 1});
  for (int k = 0; k < options.dense_layers; ++k) {
    dense_.emplace_back(scope / ("dense" + std::to_string(k)), options.width, options.width);
  }
}

ConvLayer LidarEncoder::AddLayer(const LayerScope& scope, const std::string& name, int kernel,
                                 int64_t in, int64_t out) const {
  Random random(MixBits(scope.seed ^ HashBytes(scope.prefix + name)));
  ConvLayer layer = MakeConvLayer(scope.prefix + name, kernel * kernel * kernel,
                                  static_cast<int>(in), static_cast<int>(out), true, &random);
  // The layer shares its tensors with the parameters.
  layer.weights = scope.parameters->Add(layer.name + ".weight", layer.weights);
  layer.gamma = scope.parameters->Add(layer.name + ".scale", layer.gamma);
  layer.beta = scope.parameters->Add(layer.name + ".shift", layer.beta);
  layer.mean = scope.parameters->AddBuffer(layer.name + ".mean", layer.mean);
  layer.variance = scope.parameters->AddBuffer(layer.name + ".variance", layer.variance);
  return layer;
}

LidarVoxels LidarEncoder::Voxelize(const at::Tensor& points) const {
  ATHANOR_CHECK(points.defined() && points.dim() == 2 && points.size(1) == kPointColumns &&
                    points.scalar_type() == at::kFloat,
                "LiDAR encoder: expected points [N,", kPointColumns, "] float32");
  const at::NoGradGuard no_grad;
  ATHANOR_CHECK(at::isfinite(points).all().item<bool>(),
                "LiDAR encoder: expected finite points, found NaN or infinity");
  const auto& range = grid_.range_m;
  const at::Tensor low = at::tensor({range[0], range[1], range[2]});
  const at::Tensor high = at::tensor({range[3], range[4], range[5]});
  const at::Tensor voxel =
      at::tensor({options_.voxel_m[0], options_.voxel_m[1], options_.voxel_m[2]});
  const at::Tensor place = points.narrow(1, 0, 3);
  const at::Tensor inside = at::logical_and(place.ge(low), place.lt(high)).all(1);
  const at::Tensor kept = points.index_select(0, inside.nonzero().view({-1}));
  // In voxels from the low corner: the sparse grid's cells are cubes of side 1.
  const at::Tensor scaled = ((kept.narrow(1, 0, 3) - low) / voxel).contiguous();
  const VoxelizedPoints voxels = VoxelizePoints(scaled, {}, 1.0);
  const at::Tensor offset = scaled - scaled.floor() - 0.5;
  LidarVoxels result;
  result.tensor.grid = voxels.grid;
  result.tensor.features =
      VoxelMeans(voxels, at::cat({offset, kept.narrow(1, 2, 3)}, 1).contiguous());
  result.means = VoxelMeans(voxels, kept.narrow(1, 0, 3).contiguous());
  return result;
}

at::Tensor LidarEncoder::Forward(const LidarVoxels& voxels, bool training,
                                 ConvPrecision precision) const {
  const int64_t rows = grid_.rows(), columns = grid_.columns();
  const int64_t channels = options_.channels.back();
  const c10::Device device = fold_.device();
  at::Tensor map = at::zeros({rows * columns * slices_, channels}, at::device(device));
  if (voxels.tensor.grid->size() > 0) {
    VoxelGrid* grid = voxels.tensor.grid.get();
    std::shared_ptr<VoxelGrid> coarser;  // keeps `grid` alive
    at::Tensor x = voxels.tensor.features.to(device);
    const ConvOptions plain = {{}, true, training, precision};
    for (size_t s = 0; s < stages_.size(); ++s) {
      if (s == 0) {
        x = RunConvLayer(stages_[s].down, x, grid->Submanifold(3), plain);
      } else {
        const VoxelGrid::Strided& down = grid->Down(3, 2);
        x = RunConvLayer(stages_[s].down, x, down.map, plain);
        coarser = down.grid;
        grid = coarser.get();
      }
      const ConvMap& same = grid->Submanifold(3);
      for (const auto& [first, second] : stages_[s].blocks) {
        const at::Tensor y = RunConvLayer(first, x, same, plain);
        x = RunConvLayer(second, y, same, {x, true, training, precision});
      }
    }
    // A strided kernel of 3 reaches one cell past the grid: what lies there is cut off.
    std::vector<int64_t> place, voxel;
    const std::vector<uint64_t>& keys = grid->voxels().keys();
    for (size_t v = 0; v < keys.size(); ++v) {
      const VoxelCell cell = CellOfKey(keys[v]);
      if (cell.x < 0 || cell.x >= columns || cell.y < 0 || cell.y >= rows || cell.z < 0 ||
          cell.z >= slices_) {
        continue;
      }
      place.push_back((cell.z * rows + cell.y) * columns + cell.x);
      voxel.push_back(static_cast<int64_t>(v));
    }
    map = map.index_copy(0, at::tensor(place, at::kLong).to(device),
                         x.index_select(0, at::tensor(voxel, at::kLong).to(device)));
  }
  // [slices,rows,columns,C] to [1,C * slices,rows,columns].
  at::Tensor y = map.view({slices_, rows, columns, channels})
                     .permute({3, 0, 1, 2})
                     .reshape({1, channels * slices_, rows, columns});
  if (precision == ConvPrecision::kBfloat16) y = y.to(at::kBFloat16);
  y = at::relu(fold_.Forward(y, training));
  for (const Convolution2d& layer : dense_) y = at::relu(layer.Forward(y, training));
  return y.squeeze(0).to(at::kFloat);
}

}  // namespace athanor
