// The shapes of actors, class by class: each function puts one into a builder, x forward, z up from
// the ground, near the wanted size (length, width, height in metres). actors.h fits them exactly.
#pragma once

#include <Eigen/Core>

#include "athanor/base/random.h"
#include "athanor/simulation/street/solid.h"

namespace athanor {

// Colours and finishes drawn once per actor, shared by its parts.
struct ActorPaint {
  Eigen::Vector3f body = Eigen::Vector3f::Constant(0.5f);         // paint, shirt, fur
  bool lights_on = false;                                         // lamps of vehicles shine
  bool braking = false, blink_left = false, blink_right = false;  // so do these
};

enum class CarStyle {
  kHatchback,
  kSedan,
  kSuv,
  kSports,
  kTaxi,
  kPolice,
  kVan,
  kCargoVan,
  kAmbulance
};

void ShapeCar(CarStyle style, const Eigen::Vector3f& size_m, const ActorPaint& paint,
              Random* random, SolidBuilder* out);
void ShapeTruck(const Eigen::Vector3f& size_m, const ActorPaint& paint, Random* random,
                SolidBuilder* out);
void ShapeBus(const Eigen::Vector3f& size_m, bool bendy, const ActorPaint& paint, Random* random,
              SolidBuilder* out);
void ShapeTrailer(const Eigen::Vector3f& size_m, const ActorPaint& paint, Random* random,
                  SolidBuilder* out);
void ShapeConstructionVehicle(const Eigen::Vector3f& size_m, const ActorPaint& paint,
                              Random* random, SolidBuilder* out);

// `phase` in [0, 1) of one step with either foot (or one turn of the pedals).
void ShapeBicycle(const Eigen::Vector3f& size_m, bool rider, float phase, const ActorPaint& paint,
                  Random* random, SolidBuilder* out);
void ShapeMotorcycle(const Eigen::Vector3f& size_m, bool rider, const ActorPaint& paint,
                     Random* random, SolidBuilder* out);

enum class PersonStyle { kAdult, kChild, kWorker, kPolice, kWheelchair, kStroller, kScooter };
void ShapePerson(PersonStyle style, const Eigen::Vector3f& size_m, bool walking, float phase,
                 const ActorPaint& paint, Random* random, SolidBuilder* out);

void ShapeDog(const Eigen::Vector3f& size_m, float phase, const ActorPaint& paint, Random* random,
              SolidBuilder* out);
void ShapeSheep(const Eigen::Vector3f& size_m, float phase, const ActorPaint& paint, Random* random,
                SolidBuilder* out);

void ShapePlasticBag(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeShrub(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeFence(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeCone(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeBarrier(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeCargo(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapePushable(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);
void ShapeBicycleRack(const Eigen::Vector3f& size_m, Random* random, SolidBuilder* out);

// A ball with bumps: foliage, crumpled plastic, wool. Closed; used by trees too.
void AddBlob(const Eigen::Vector3f& center, const Eigen::Vector3f& half_axes, float bumps,
             int rings, int segments, Random* random, SolidBuilder* out);

// Finishes that several shapes share.
SurfaceMaterial PaintFinish(const Eigen::Vector3f& color, float gloss);
SurfaceMaterial GlassFinish();
SurfaceMaterial RubberFinish();
SurfaceMaterial MetalFinish(float brightness);
SurfaceMaterial PlainFinish(const Eigen::Vector3f& color, float lidar_reflectance);
SurfaceMaterial RetroFinish(const Eigen::Vector3f& color, float retroreflection);
// A lamp that shines when `emission` > 0.
SurfaceMaterial LampFinish(const Eigen::Vector3f& color, float emission);

}  // namespace athanor
