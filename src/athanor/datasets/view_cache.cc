#include "athanor/datasets/view_cache.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/media/undistort.h"

namespace athanor {
namespace {

constexpr int64_t kRowsPerPiece = 16;

Camera PinholeOf(const Camera& camera) {
  if (!camera.IsPinhole()) return UndistortedCamera(camera);
  Camera pinhole;
  pinhole.model = CameraModel::kPinhole;
  pinhole.width_px = camera.width_px;
  pinhole.height_px = camera.height_px;
  pinhole.parameters = {camera.fx(), camera.fy(), camera.cx(), camera.cy()};
  return pinhole;
}

Camera ShrunkTo(const Camera& camera, int max_side_px) {
  const int side = std::max(camera.width_px, camera.height_px);
  if (max_side_px == 0 || side <= max_side_px) return camera;
  const double scale = static_cast<double>(max_side_px) / side;
  const auto shrink = [&](int pixels) {
    return std::max(1, static_cast<int>(std::lround(pixels * scale)));
  };
  return camera.Resized(shrink(camera.width_px), shrink(camera.height_px));
}

// Grey, RGB or RGBA to RGB, transparent pixels over the background.
Image ToRgb(Image image, const std::array<uint8_t, 3>& background) {
  if (image.channels == 3) return image;
  Image rgb(image.width, image.height, 3);
  ParallelFor(image.height, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (auto y = static_cast<int>(begin); y < end; ++y) {
      const uint8_t* from = image.at(0, y);
      uint8_t* to = rgb.at(0, y);
      for (int x = 0; x < image.width; ++x, from += image.channels, to += 3) {
        for (int c = 0; c < 3; ++c) {
          if (image.channels == 1) {
            to[c] = from[0];
          } else {
            const int alpha = from[3];
            to[c] =
                static_cast<uint8_t>((from[c] * alpha + background[c] * (255 - alpha) + 127) / 255);
          }
        }
      }
    }
  });
  return rgb;
}

// Masks mark what to use by any value but 0, also by 1. In between, half a pixel decides.
void Binarize(Image& mask, int threshold) {
  for (uint8_t& value : mask.data) value = value >= threshold ? 255 : 0;
}

// Companions of a photograph may have fewer pixels, but must have its shape.
void CheckShape(const PosedImage& image, const std::filesystem::path& path, int width, int height,
                const Camera& camera) {
  const double scale_x = static_cast<double>(width) / camera.width_px;
  const double scale_y = static_cast<double>(height) / camera.height_px;
  ATHANOR_CHECK(std::abs(scale_x / scale_y - 1) < 0.02, path.string(),
                ": expected the shape of photograph ", image.name, ", ", camera.width_px, "x",
                camera.height_px, ", found ", width, "x", height);
}

}  // namespace

ViewCache::ViewCache(const PosedImages& posed, const ViewOptions& options)
    : images_(posed.images),
      cameras_(posed.cameras),
      depth_unit_(static_cast<float>(posed.depth_unit_m)),
      options_(options),
      slots_(posed.images.size()) {
  ATHANOR_CHECK(options.max_side_px >= 0,
                "max_side_px: expected 0 (as photographed) or more, found ", options.max_side_px);
  ATHANOR_CHECK(options.cache_bytes >= 0, "cache_bytes: expected 0 or more, found ",
                options.cache_bytes);
  for (const Camera& camera : cameras_) {
    crop_cameras_.push_back(PinholeOf(camera));
    view_cameras_.push_back(ShrunkTo(crop_cameras_.back(), options.max_side_px));
  }
  worker_ = std::thread([this] { Work(); });
}

ViewCache::~ViewCache() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  requested_.notify_all();
  worker_.join();
}

std::shared_ptr<const View> ViewCache::Get(int image) {
  Slot& slot = slots_.at(image);
  std::unique_lock lock(mutex_);
  decoded_.wait(lock, [&] { return !slot.decoding; });
  if (slot.view) {
    by_use_.splice(by_use_.begin(), by_use_, slot.use);
    return slot.view;
  }
  slot.decoding = true;
  lock.unlock();
  std::shared_ptr<const View> view;
  std::exception_ptr failure;
  try {
    view = std::make_shared<const View>(Decode(images_[image]));
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  slot.decoding = false;
  if (view) Keep(image, view);
  lock.unlock();
  decoded_.notify_all();
  if (failure) std::rethrow_exception(failure);
  return view;
}

void ViewCache::Prefetch(int image) {
  {
    const std::lock_guard lock(mutex_);
    const Slot& slot = slots_.at(image);
    if (slot.view || slot.decoding) return;
    queue_.push_back(image);
  }
  requested_.notify_one();
}

int64_t ViewCache::resident_bytes() const {
  const std::lock_guard lock(mutex_);
  return resident_bytes_;
}

// Called with the lock held.
void ViewCache::Keep(int image, std::shared_ptr<const View> view) {
  const int64_t bytes = view->size_bytes();
  if (bytes > options_.cache_bytes) return;
  while (resident_bytes_ + bytes > options_.cache_bytes) {
    Slot& oldest = slots_[by_use_.back()];
    resident_bytes_ -= oldest.view->size_bytes();
    oldest.view.reset();
    by_use_.pop_back();
  }
  resident_bytes_ += bytes;
  by_use_.push_front(image);
  slots_[image].view = std::move(view);
  slots_[image].use = by_use_.begin();
}

void ViewCache::Work() {
  // The other cores are the training's.
  SetNumThreads(1);
  while (true) {
    int image = 0;
    {
      std::unique_lock lock(mutex_);
      requested_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      image = queue_.front();
      queue_.pop_front();
      const Slot& slot = slots_[image];
      if (slot.view || slot.decoding) continue;
    }
    try {
      Get(image);
    } catch (const std::exception&) {
      // The Get() that wants this view decodes it again and throws.
    }
  }
}

View ViewCache::Decode(const PosedImage& image) const {
  const Camera& source = cameras_[image.camera];
  const Camera& crop = crop_cameras_[image.camera];
  const Camera& target = view_cameras_[image.camera];
  // Undistorting interpolates, which blurs by a pixel, so it comes before the shrinking: then the
  // blur is of the photograph's small pixels, and averaging them removes it.
  const auto to_view = [&](Image pixels) {
    if (!source.IsPinhole()) pixels = Undistort(pixels, source, crop);
    if (pixels.width != target.width_px || pixels.height != target.height_px) {
      pixels = Resize(pixels, target.width_px, target.height_px);
    }
    return pixels;
  };

  View view;
  Image pixels = ReadImage(image.image_path, 0);
  ATHANOR_CHECK(pixels.width == source.width_px && pixels.height == source.height_px,
                image.image_path.string(), ": expected the size of its camera, ", source.width_px,
                "x", source.height_px, ", found ", pixels.width, "x", pixels.height);
  view.rgb = to_view(ToRgb(std::move(pixels), options_.background));
  if (!image.mask_path.empty()) {
    Image mask = ReadImage(image.mask_path, 1);
    CheckShape(image, image.mask_path, mask.width, mask.height, source);
    Binarize(mask, 1);
    if (mask.width != source.width_px || mask.height != source.height_px) {
      mask = Resize(mask, source.width_px, source.height_px);
    }
    view.mask = to_view(std::move(mask));
    Binarize(view.mask, 128);
  }
  if (!image.depth_path.empty()) {
    const DepthImage depth = ReadDepthPng(image.depth_path);
    CheckShape(image, image.depth_path, depth.width, depth.height, source);
    // Not blended: between two surfaces lies no third. Each pixel takes the map's nearest value;
    // depth along z is the same for both cameras, which share their axes.
    const DepthImage warped = Undistort(depth, source.Resized(depth.width, depth.height), target);
    view.depth = FloatImage(warped.width, warped.height, 1);
    std::transform(warped.data.begin(), warped.data.end(), view.depth.data.begin(),
                   [&](uint16_t steps) { return depth_unit_ * static_cast<float>(steps); });
  }
  return view;
}

}  // namespace athanor
