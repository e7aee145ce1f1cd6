// The photographs of a capture as training wants them: decoded when asked for, undistorted, at the
// training resolution, and kept within a budget of memory.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "athanor/datasets/posed_images.h"
#include "athanor/media/image.h"

namespace athanor {

struct ViewOptions {
  int max_side_px = 0;  // longest side of a view, pixels; 0 = as photographed; never enlarged
  int64_t cache_bytes = int64_t{2} << 30;  // decoded views kept in memory at most, bytes
  std::array<uint8_t, 3> background = {255, 255, 255};  // sRGB, seen through transparent pixels
};

// One photograph, seen by ViewCache::camera(). All parts have that camera's size.
struct View {
  Image rgb;         // [H,W,3]
  Image mask;        // [H,W,1] 255 = use, 0 = ignore; empty when there is none
  FloatImage depth;  // [H,W,1] along the camera's z axis, scene units, 0 = unknown; or empty

  int64_t size_bytes() const {
    return static_cast<int64_t>(rgb.size_bytes() + mask.size_bytes() + depth.size_bytes());
  }
};

// Thread-safe. A view is the same whichever thread decodes it and whatever was evicted before.
class ViewCache {
 public:
  // Reads no photograph yet. Throws Error for bad options or a camera that cannot be undistorted.
  ViewCache(const PosedImages& posed, const ViewOptions& options);
  // Waits for the photograph that is being decoded.
  ~ViewCache();
  ViewCache(const ViewCache&) = delete;
  ViewCache& operator=(const ViewCache&) = delete;

  int size() const { return static_cast<int>(images_.size()); }
  // A pinhole (CameraModel::kPinhole) at the size of the views: of a distorted camera, the largest
  // part of the picture without blank borders.
  const Camera& camera(int image) const { return view_cameras_.at(images_.at(image).camera); }

  // The view, decoded now unless it is in memory; the least recently used ones leave when the
  // budget is reached. The caller's pointer keeps a view alive after that. Throws Error (path, both
  // sizes) for a file that is damaged or not of its camera's size.
  std::shared_ptr<const View> Get(int image);
  // Has the view decoded in the background, so that a later Get() need not wait. A file that fails
  // is reported by that Get().
  void Prefetch(int image);

  // What the kept views take, never above the budget.
  int64_t resident_bytes() const;

 private:
  struct Slot {
    std::shared_ptr<const View> view;
    std::list<int>::iterator use;  // place in by_use_, when there is a view
    bool decoding = false;
  };

  View Decode(const PosedImage& image) const;
  void Keep(int image, std::shared_ptr<const View> view);
  void Work();

  std::vector<PosedImage> images_;
  std::vector<Camera> cameras_;       // as photographed
  std::vector<Camera> crop_cameras_;  // undistorted, before the change of size
  std::vector<Camera> view_cameras_;
  float depth_unit_;
  ViewOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable decoded_;    // a slot is no longer decoding
  std::condition_variable requested_;  // the queue has grown, or stop_
  std::vector<Slot> slots_;
  std::list<int> by_use_;  // kept views, most recently used first
  int64_t resident_bytes_ = 0;
  std::deque<int> queue_;
  bool stop_ = false;
  std::thread worker_;
};

}  // namespace athanor
