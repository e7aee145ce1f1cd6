#include "athanor/simulation/rooms/object_model.h"

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

// More shapes than this collide as one box: leaves of a plant.
constexpr size_t kMaxColliders = 28;

// Of much the same hue, lighter or darker, so that the name of the whole stays.
Vector3f Shade(const Vector3f& color, float factor) {
  return (color * factor).cwiseMin(Vector3f::Constant(0.95f));
}

}  // namespace

std::string_view StandName(Stand stand) {
  constexpr std::string_view kNames[] = {"floor", "table", "shelf", "wall", "ceiling"};
  return kNames[static_cast<size_t>(stand)];
}

float ObjectMaker::PickScale() {
  const float scale = Uniform(0.85f, 1.18f);
  model.attributes.size = scale < 0.93f ? "small" : scale > 1.09f ? "large" : "medium";
  return scale;
}

std::string ObjectMaker::PickName(Names colors) {
  if (colors.size() == 0) {
    return ColorNames()[Pick(static_cast<int>(ColorNames().size()))];
  }
  return *(colors.begin() + Pick(static_cast<int>(colors.size())));
}

Look ObjectMaker::Wood(Names colors) {
  Look look;
  look.color = PickName(colors);
  look.material = "wooden";
  SurfaceMaterial& s = look.surface;
  s.color = RandomColor(look.color, random);
  const bool painted = look.color != "brown" && look.color != "beige";
  s.pattern = painted ? Pattern::kPlain : Pattern::kWood;
  s.second_color = Shade(s.color, Uniform(0.62f, 0.8f));
  s.pattern_scale = Uniform(5, 9);
  s.roughness = Uniform(0.45f, 0.75f);
  return look;
}

Look ObjectMaker::Metal(Names colors) {
  Look look;
  look.color = PickName(colors);
  look.material = "metal";
  SurfaceMaterial& s = look.surface;
  s.color = RandomColor(look.color, random);
  s.second_color = s.color;
  s.roughness = Uniform(0.2f, 0.4f);
  s.metallic = 0.6f;
  return look;
}

Look ObjectMaker::Plastic(Names colors) {
  Look look;
  look.color = PickName(colors);
  look.material = "plastic";
  SurfaceMaterial& s = look.surface;
  s.color = RandomColor(look.color, random);
  s.second_color = s.color;
  s.roughness = Uniform(0.25f, 0.5f);
  return look;
}

Look ObjectMaker::Fabric(Names colors, float pattern_share) {
  Look look;
  look.color = PickName(colors);
  look.material = "fabric";
  SurfaceMaterial& s = look.surface;
  s.color = RandomColor(look.color, random);
  s.pattern = Pattern::kFabric;
  s.second_color = Shade(s.color, 0.75f);
  s.pattern_scale = Uniform(90, 160);
  s.roughness = 0.95f;
  if (Chance(pattern_share)) {
    const bool stripes = Chance(0.5f);
    s.pattern = stripes ? Pattern::kStripes : Pattern::kChecks;
    look.pattern = stripes ? "striped" : "checked";
    const bool light = s.color.maxCoeff() > 0.4f;
    s.second_color = light ? Shade(s.color, 0.3f) : RandomColor("white", random);
    s.pattern_scale = Uniform(7, 14);
  }
  return look;
}

Look ObjectMaker::Leather(Names colors) {
  Look look = Plastic(colors);
  look.material = "leather";
  look.surface.roughness = Uniform(0.45f, 0.6f);
  look.surface.pattern = Pattern::kNoise;
  look.surface.second_color = Shade(look.surface.color, 0.8f);
  look.surface.pattern_scale = Uniform(20, 40);
  return look;
}

Look ObjectMaker::Ceramic(Names colors, float pattern_share) {
  Look look = Plastic(colors);
  look.material = "ceramic";
  SurfaceMaterial& s = look.surface;
  s.roughness = Uniform(0.12f, 0.3f);
  if (Chance(pattern_share)) {
    s.pattern = Pattern::kStripes;
    look.pattern = "striped";
    s.second_color =
        s.color.maxCoeff() > 0.6f ? RandomColor("blue", random) : RandomColor("white", random);
    s.pattern_scale = Uniform(30, 60);
  }
  return look;
}

Look ObjectMaker::Glass(Names colors) {
  Look look = Plastic(colors);
  look.material = "glass";
  look.surface.roughness = 0.05f;
  look.surface.mirror = 0.08f;
  return look;
}

Look ObjectMaker::Matt(std::string_view color, std::string_view material) {
  Look look;
  look.color = color;
  look.material = material;
  look.surface.color = RandomColor(color, random);
  look.surface.second_color = look.surface.color;
  look.surface.roughness = 0.85f;
  return look;
}

void ObjectMaker::Describe(const Look& look) {
  model.attributes.color = ColorName(look.surface.color);
  model.attributes.material = look.material;
  model.attributes.pattern = look.pattern;
}

const std::vector<ObjectKind>& ObjectKinds() {
  static const std::vector<ObjectKind> kinds = [] {
    std::vector<ObjectKind> all;
    for (const auto make : {FurnitureKinds, FixtureKinds, TablewareKinds, ElectronicsKinds,
                            ToyKinds, HouseholdKinds}) {
      for (ObjectKind& kind : make()) all.push_back(std::move(kind));
    }
    return all;
  }();
  return kinds;
}

int FindObjectKind(std::string_view name) {
  const auto& kinds = ObjectKinds();
  for (size_t k = 0; k < kinds.size(); ++k) {
    if (kinds[k].name == name) return static_cast<int>(k);
  }
  throw Error(StrCat("no kind of object is called '", name, "'"));
}

ObjectModel MakeObject(int kind, uint64_t seed) {
  const auto& kinds = ObjectKinds();
  ATHANOR_CHECK(kind >= 0 && kind < static_cast<int>(kinds.size()),
                "object: expected a kind from 0 to ", kinds.size() - 1, ", found ", kind);
  ObjectMaker maker(kinds[kind], MixBits(seed) ^ static_cast<uint64_t>(kind));
  maker.model.attributes.size = "medium";
  kinds[kind].make(maker);

  ObjectModel model = std::move(maker.model);
  model.kind = kind;
  model.seed = seed;
  model.mesh = maker.mesh();
  Eigen::AlignedBox3f box;
  for (const Eigen::AlignedBox3f& shape : maker.shape_boxes()) box.extend(shape);
  const Vector3f shift(-box.center().x(), -box.center().y(), -box.min().z());
  for (Vector3f& v : model.mesh.vertices) v += shift;
  for (SupportSurface& support : model.supports) {
    support.low += shift.head<2>();
    support.high += shift.head<2>();
    support.z_m += shift.z();
  }
  for (ObjectLight& light : model.lights) light.position += shift;
  model.size_m = box.sizes();
  if (maker.shape_boxes().size() > kMaxColliders) {
    model.colliders.push_back({box.min() + shift, box.max() + shift});
  } else {
    for (const Eigen::AlignedBox3f& shape : maker.shape_boxes()) {
      model.colliders.push_back({shape.min() + shift, shape.max() + shift});
    }
  }
  return model;
}

ObjectModel StoodUp(ObjectModel object) {
  const float half = object.size_m.y() / 2;  // the origin stays in the middle of the footprint
  const auto turn = [&](const Vector3f& p) {
    return Vector3f(p.x(), object.size_m.z() / 2 - p.z(), p.y() + half);
  };
  for (Vector3f& v : object.mesh.vertices) v = turn(v);
  for (Vector3f& n : object.mesh.normals) n = Vector3f(n.x(), -n.z(), n.y());
  for (Eigen::AlignedBox3f& box : object.colliders) {
    Eigen::AlignedBox3f turned;
    turned.extend(turn(box.min()));
    turned.extend(turn(box.max()));
    box = turned;
  }
  for (ObjectLight& light : object.lights) light.position = turn(light.position);
  object.supports.clear();
  object.size_m = {object.size_m.x(), object.size_m.z(), object.size_m.y()};
  return object;
}

}  // namespace athanor
