// Hyper-parameters: where they may lie, how they are drawn and how they are changed.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {

// By name; numbers as text that reads back to the same number.
using HyperParameters = std::map<std::string, std::string>;

std::string HyperText(double value);
// Throws Error when there is none of that name, or it is no number.
double HyperNumber(const HyperParameters& hyper, const std::string& name);

// One of them. Numbers lie between `low` and `high`, both included.
struct HyperRange {
  enum class Kind { kNumber, kInteger, kChoice };
  std::string name;
  Kind kind = Kind::kNumber;
  double low = 0, high = 0;
  bool is_log = false;  // drawn evenly in its logarithm
  std::vector<std::string> choices;
  bool is_fixed = false;  // for life: a child has its parent's (sizes of a network)

  bool operator==(const HyperRange&) const = default;
};

class SearchSpace {
 public:
  SearchSpace() = default;
  // Throws Error for an empty range, a name that comes twice, a logarithm of 0.
  explicit SearchSpace(std::vector<HyperRange> ranges);
  // The table [space] of a TOML file, which must be there and hold at least one:
  //   rate   = { low = 1e-4, high = 0.1, scale = "log" }
  //   hidden = { low = 4, high = 64, scale = "log", integer = true, fixed = true }
  //   kind   = { choices = ["adam", "sgd"] }
  // Throws Error (name, line, what was expected).
  static SearchSpace FromToml(std::string_view text, std::string_view name);

  const std::vector<HyperRange>& ranges() const { return ranges_; }

  HyperParameters Sample(Random* random) const;
  // Each that is not fixed: with probability `resample` drawn anew, else a number times 1.2 or 0.8
  // (an integer changes by 1 at least), a choice to its neighbour in the list. What comes out is in
  // its range (population-based training: Jaderberg et al., 2017).
  HyperParameters Perturb(const HyperParameters& hyper, double resample, Random* random) const;
  // Each that is not fixed from one of the two, at even odds; fixed ones are of `first`.
  HyperParameters Cross(const HyperParameters& first, const HyperParameters& second,
                        Random* random) const;
  // Throws Error unless there is one of each, in its range, and no other.
  void Check(const HyperParameters& hyper, std::string_view where) const;

  bool operator==(const SearchSpace&) const = default;

 private:
  std::vector<HyperRange> ranges_;
};

}  // namespace athanor
