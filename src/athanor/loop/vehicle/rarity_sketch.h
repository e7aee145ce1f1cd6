// How rare things are, from tables that never grow.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace athanor {

// How often words came, never too few: Cormode and Muthukrishnan, "An improved data stream summary:
// the count-min sketch", J. Algorithms 2005, with conservative update (Estan and Varghese 2002).
class CountMin {
 public:
  explicit CountMin(int width = 2048, int depth = 4);

  void Add(std::string_view word);
  double Count(std::string_view word) const;
  double total() const { return total_; }

 private:
  size_t Slot(std::string_view word, int row) const;

  int width_, depth_;
  double total_ = 0;
  std::vector<float> counts_;  // [depth,width]
};

// How many features came that are like this one. Kinds are made as they come: a feature joins the
// nearest kind within a radius, or begins one (the leader algorithm; Hartigan, "Clustering
// Algorithms", 1975). The radius is what two frames one after the other usually differ by, and a
// little more. When there are `kinds`, the rarest gives its place to a new one, which inherits its
// count (Metwally et al., "Efficient computation of frequent and top-k elements in data streams",
// ICDT 2005): counts are never too low.
class FeatureSketch {
 public:
  explicit FeatureSketch(int kinds = 1024) : most_kinds_(kinds) {}

  // Makes its tables for features as long as the first one: takes longer than anything after.
  void Prepare(std::span<const float> first);
  // log2(frames seen / frames like this): bits of surprise, before it is counted itself. Throws
  // Error for another dimension than before, or a number that is not finite.
  double SurpriseThenAdd(std::span<const float> feature);
  // Of what was seen; as long as features are once there was one.
  std::span<const float> mean() const { return mean_; }
  int kinds() const { return static_cast<int>(counts_.size()); }

 private:
  int most_kinds_;
  double total_ = 0;
  double step_ = 0;  // squared distance that 7 of 10 frames keep to the one before
  std::vector<float> mean_, last_;
  std::vector<float> centers_;  // [kinds,dimension], means of what joined
  std::vector<float> counts_;   // [kinds]
};

// How unusual a score is in the history of such scores: log2 of one over the share of them that
// were as high. A trigger's own scale drops out, and so does that of a car's neighbourhood.
class TailBits {
 public:
  // Scores beyond `most` count as `most`.
  explicit TailBits(double most) : most_(most), counts_(kBins) {}

  double BitsThenAdd(double score);

 private:
  static constexpr int kBins = 512;
  double most_, total_ = 0;
  std::vector<float> counts_;
};

}  // namespace athanor
