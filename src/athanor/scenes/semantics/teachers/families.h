// The three families of teachers of Semantic Gaussians (Guo et al. 2024, III-B), and how they are
// joined: pixel-level maps, regions of a picture through an image encoder, instances in boxes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "athanor/scenes/semantics/teachers/clip_model.h"
#include "athanor/scenes/semantics/teachers/detector.h"
#include "athanor/scenes/semantics/teachers/mask_source.h"
#include "athanor/scenes/semantics/teachers/teacher.h"
#include "athanor/scenes/semantics/teachers/window_network.h"

namespace athanor {

// Pixel-level: a network that gives a map of vectors (LSeg, OpenSeg). Card of kind "pixel": file
// "network", port "features", numbers "dimension", "cell", "overlap", "scale1" ...,
// "channels_last".
class PixelTeacher : public Teacher {
 public:
  PixelTeacher(const ModelCard& card, const ModelStore& store);

  std::string key() const override { return key_; }
  int dimension() const override { return dimension_; }
  std::string text_space() const override { return text_space_; }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  std::string key_, text_space_;
  int dimension_, cell_px_;
  WindowNetwork network_;
};

// Any dense teacher with sharp edges: the vector of a mask is the mean of those below it. Pixels
// that no mask covers are pooled in tiles of 64 pixels.
class PooledTeacher : public Teacher {
 public:
  PooledTeacher(std::unique_ptr<Teacher> teacher, std::unique_ptr<MaskSource> masks);

  std::string key() const override { return teacher_->key() + "@" + masks_->key(); }
  int dimension() const override { return teacher_->dimension(); }
  std::string text_space() const override { return teacher_->text_space(); }
  std::vector<std::string> classes() const override { return teacher_->classes(); }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<MaskSource> masks_;
};

// Means of dense features below masks, [M,D] f32: each pixel counts once, with its cell's vector.
at::Tensor PoolBelowMasks(const ViewFeatures& dense, const std::vector<BitMask>& masks);

// Image-level: every region is cut out on black, padded to a square and given to CLIP's image
// encoder. A pixel's vector is the sum of those of the regions that hold it.
class RegionTeacher : public Teacher {
 public:
  // The card's own encoder.
  RegionTeacher(const ModelCard& card, const ModelStore& store, ClipImageEncoder encoder,
                std::unique_ptr<MaskSource> masks);

  std::string key() const override { return key_; }
  int dimension() const override { return encoder_.dimension(); }
  std::string text_space() const override { return text_space_; }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  std::string key_, text_space_;
  ClipImageEncoder encoder_;
  std::unique_ptr<MaskSource> masks_;
};

// The region on black, in the middle of a square.
Image CutOut(const Image& rgb, const BitMask& mask);

// Instance-level: a detector's boxes become masks; a mask's vector is the text vector of its label,
// times its score.
class InstanceTeacher : public Teacher {
 public:
  InstanceTeacher(const ModelCard& card, const ModelStore& store, TextEncoder& words,
                  std::unique_ptr<MaskSource> masks);

  std::string key() const override { return key_; }
  int dimension() const override { return static_cast<int>(vectors_.size(1)); }
  std::string text_space() const override { return text_space_; }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  std::string key_, text_space_;
  at::Tensor vectors_;  // [labels,D]
  PictureDetector detector_;
  std::unique_ptr<MaskSource> masks_;
};

enum class Fusion {
  kConcat,  // vectors end to end; text vectors are those of the spaces, end to end
  kMean     // of vectors of one space
};

// Several teachers as one, dense: masks of one are spread over the finest grid among them (8 pixels
// a cell when none is dense). Each teacher's vectors are brought to length 1 first, so that all
// have one say, whatever lengths they give.
class FusedTeacher : public Teacher {
 public:
  // Throws Error for none, and for a mean over different spaces or dimensions.
  FusedTeacher(std::vector<std::unique_ptr<Teacher>> teachers, Fusion fusion);

  std::string key() const override;
  int dimension() const override;
  // That of all, or "a+b" for different ones.
  std::string text_space() const override;
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  std::vector<std::unique_ptr<Teacher>> teachers_;
  Fusion fusion_;
};

// Dense or not, [rows,columns,D] f32: vectors at the centres of cells.
at::Tensor OnGrid(const ViewFeatures& features, GridSize grid);

}  // namespace athanor
