#include "athanor/nn/hidden_units.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <utility>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr double kDormant = 0.025;

// The axis of a layer's weights that counts what comes out: [out,in], [out,in,k,k], or sparse
// [offsets,in,out]. What goes in is counted by axis 1 in all of them.
int64_t AxisOfOutputs(const at::Tensor& weight) { return weight.dim() == 3 ? 2 : 0; }

// What may follow a layer of this name; empty: nothing does.
std::string NextLayer(const std::string& layer) {
  const size_t dot = layer.rfind('.');
  const std::string scope = dot == std::string::npos ? "" : layer.substr(0, dot + 1);
  const std::string name = layer.substr(scope.size());
  if (name == "expand") return scope + "shrink";
  if (name == "first") return scope + "second";
  if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
    return StrCat(scope, std::stoi(name) + 1);
  }
  return "";
}

}  // namespace

std::vector<HiddenLayer> HiddenLayersOf(const Parameters& parameters) {
  std::map<std::string, at::Tensor> weights;
  std::vector<std::string> layers;
  for (const auto& [name, tensor] : parameters.trained()) {
    if (!name.ends_with(".weight") || tensor.dim() < 2) continue;
    layers.push_back(name.substr(0, name.size() - std::string(".weight").size()));
    weights.emplace(layers.back(), tensor);
  }
  std::vector<HiddenLayer> hidden;
  for (const std::string& layer : layers) {
    const auto next = weights.find(NextLayer(layer));
    if (next == weights.end()) continue;
    const at::Tensor& in = weights.at(layer);
    const int64_t units = in.size(AxisOfOutputs(in));
    if (next->second.size(1) == units) hidden.push_back({layer, next->first, units});
  }
  return hidden;
}

at::Tensor UseOfUnits(const HiddenLayer& layer, const Parameters& parameters, const AdamW& adam) {
  const at::NoGradGuard no_gradient;
  const std::string name = layer.out + ".weight";
  const at::Tensor share = parameters.Get(name).abs() * adam.MeanSquareOf(name).sqrt();
  return share.transpose(0, 1).reshape({layer.units, -1}).sum(1).cpu();
}

double DormantShare(const Parameters& parameters, const AdamW& adam) {
  int64_t units = 0, dormant = 0;
  for (const HiddenLayer& layer : HiddenLayersOf(parameters)) {
    const at::Tensor use = UseOfUnits(layer, parameters, adam);
    units += layer.units;
    dormant += use.lt(kDormant * use.mean()).sum().item<int64_t>();
  }
  return units == 0 ? 0 : static_cast<double>(dormant) / static_cast<double>(units);
}

int64_t RenewLeastUsed(double share, const Parameters& fresh, Parameters* parameters, AdamW* adam) {
  const at::NoGradGuard no_gradient;
  ATHANOR_CHECK(share >= 0 && share <= 1, "hidden units: expected a share of 0 to 1, found ",
                share);
  int64_t renewed = 0;
  for (const HiddenLayer& layer : HiddenLayersOf(*parameters)) {
    const int64_t count = std::llround(share * static_cast<double>(layer.units));
    if (count == 0) continue;
    const at::Tensor order = UseOfUnits(layer, *parameters, *adam).argsort(0, /*descending=*/false);
    const at::Tensor least = order.narrow(0, 0, count).to(parameters->device());
    for (const auto* list : {&parameters->trained(), &parameters->buffers()}) {
      for (const auto& [name, tensor] : *list) {
        if (!name.starts_with(layer.in + ".")) continue;
        const int64_t axis = AxisOfOutputs(tensor);
        at::Tensor mine = tensor;
        mine.index_copy_(axis, least, fresh.Get(name).index_select(axis, least));
        if (list == &parameters->trained()) adam->Forget(name, axis, least);
      }
    }
    const std::string behind = layer.out + ".weight";
    at::Tensor weights = parameters->Get(behind);
    weights.index_fill_(1, least, 0);
    adam->Forget(behind, 1, least);
    renewed += count;
  }
  return renewed;
}

}  // namespace athanor
