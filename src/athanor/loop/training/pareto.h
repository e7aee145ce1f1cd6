// What is best when several things count: non-dominated sorting, crowding, hypervolume, and an
// archive that keeps a bounded number of points.
//
// Every coordinate is the larger the better; who wants less negates. Coordinates are finite.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace athanor {

using ParetoPoint = std::vector<double>;

// At least as good everywhere, better somewhere.
bool Dominates(std::span<const double> a, std::span<const double> b);

// 0 for points that no other dominates, 1 for those that only these dominate, and so on (Deb et
// al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002). O(M N^2). Throws
// Error for points of unequal length or that are not finite.
std::vector<int> NonDominatedRanks(const std::vector<ParetoPoint>& points);

// Of points of one rank: how far their neighbours are along each axis, added up, each axis scaled
// to 1 (as in NSGA-II). Infinite at the ends of an axis.
std::vector<double> CrowdingDistances(const std::vector<ParetoPoint>& points);

// The volume between `reference` and the points: of all that some point dominates and that lies
// above the reference in every coordinate. One to three coordinates, exact: sweeps, O(N log N). (In
// three: Fonseca, Paquete and Lopez-Ibanez, CEC 2006.) Points below the reference somewhere add
// nothing. Throws Error as above, and for more coordinates.
double Hypervolume(const std::vector<ParetoPoint>& points, std::span<const double> reference);

// What would be lost of it without each point.
std::vector<double> HypervolumeContributions(const std::vector<ParetoPoint>& points,
                                             std::span<const double> reference);

// The `count` best: rank by rank, and of the rank that does not fit whole, those that remain when
// the one that adds least hypervolume is taken away again and again (Beume, Naujoks and Emmerich,
// "SMS-EMOA", 2007; ties: the nearer neighbours, then the later point). Indices, best first: by
// rank, then by contribution to the hypervolume of the chosen.
std::vector<int> SelectBest(const std::vector<ParetoPoint>& points,
                            std::span<const double> reference, int count);

// Keeps points that cover all that were ever inserted up to a factor: none is better by more than
// one `epsilon` in every coordinate than some point that is kept, of boxes with that edge at most
// one point each (Laumanns, Thiele, Deb and Zitzler, 2002). What is kept depends on the order of
// insertion alone. With an epsilon of 0: all that are not dominated.
class EpsilonArchive {
 public:
  // Edges of boxes, one per coordinate, 0 or more.
  explicit EpsilonArchive(std::vector<double> epsilon);

  // Whether the point is kept; then those that it takes the place of are not. An id comes once.
  // Equal points: the first stays.
  bool Insert(int64_t id, const ParetoPoint& point);
  bool Contains(int64_t id) const { return points_.contains(id); }
  const std::map<int64_t, ParetoPoint>& points() const { return points_; }

 private:
  ParetoPoint BoxOf(const ParetoPoint& point) const;

  std::vector<double> epsilon_;
  std::map<int64_t, ParetoPoint> points_;
};

}  // namespace athanor
