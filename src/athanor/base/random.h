// Random numbers that are the same on every machine: PCG32 for sequences, and a counter-based hash
// for loops that run in any order. (The distributions of <random> differ between libraries.)
#pragma once

#include <cmath>
#include <cstdint>

namespace athanor {

// Mixes 64 bits well (the finaliser of SplitMix64). A counter-based generator: hash the index.
constexpr uint64_t MixBits(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// PCG-XSH-RR 64/32 (O'Neill 2014). Its whole state is one number, so it can be saved.
class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(MixBits(seed)) { NextBits(); }

  uint32_t NextBits() {
    const uint64_t old = state_;
    state_ = old * 6364136223846793005ull + 1442695040888963407ull;
    const auto xorshifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
    const auto rotation = static_cast<uint32_t>(old >> 59);
    return (xorshifted >> rotation) | (xorshifted << ((-rotation) & 31));
  }
  // Uniform in [0, n), n >= 1 (Lemire's method without the rejection: bias below n / 2^32).
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>((uint64_t{NextBits()} * n) >> 32); }
  // Uniform in [0, 1).
  float Uniform() { return static_cast<float>(NextBits() >> 8) * 0x1p-24f; }
  float Uniform(float low, float high) { return low + (high - low) * Uniform(); }
  // Standard normal (Box-Muller, one of the pair).
  float Normal() {
    const float u = static_cast<float>((NextBits() >> 8) + 1) * 0x1p-24f;
    const float v = Uniform();
    return std::sqrt(-2.0f * std::log(u)) * std::cos(6.283185307179586f * v);
  }

  uint64_t state() const { return state_; }
  void set_state(uint64_t state) { state_ = state; }

 private:
  uint64_t state_;
};

}  // namespace athanor
