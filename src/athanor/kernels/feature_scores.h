// Dot products of many stored feature vectors with a few vectors: what a query costs.
#pragma once

#include <cstdint>

namespace athanor {

// Rows kept as float16. Bound by memory: each row is read once, whatever the number of vectors.
struct HalfScoresArgs {
  int64_t n;
  int dimension;         // D >= 1
  int vectors;           // P >= 0
  const uint16_t* rows;  // [N,D] float16
  const float* targets;  // [P,D]
  float* scores;         // [N,P] out
};

// Rows kept as a weighted sum of a few entries of a table whose own scores are known:
// scores[i][p] = sum_k weights[i][k] entry_scores[codes[i][k]][p]. A code with weight 0 may be
// anything below the number of entries.
struct CodedScoresArgs {
  int64_t n;
  int terms;                // K >= 1 per row
  int vectors;              // P >= 0
  const uint16_t* codes;    // [N,K]
  const uint16_t* weights;  // [N,K] float16; null: 1
  int entries;
  const float* entry_scores;  // [entries,P]
  float* scores;              // [N,P] out
};

// Product quantisation (Jegou et al. 2011): scores[i][p] = sum_m table[m][codes[i][m]][p].
struct ProductScoresArgs {
  int64_t n;
  int parts;             // M >= 1
  int vectors;           // P >= 0
  const uint8_t* codes;  // [N,M]
  const float* table;    // [M,256,P]
  float* scores;         // [N,P] out
};

void HalfScoresCpu(const HalfScoresArgs& args);
void CodedScoresCpu(const CodedScoresArgs& args);
void ProductScoresCpu(const ProductScoresArgs& args);

void HalfScoresCuda(const HalfScoresArgs& args, void* stream);
void CodedScoresCuda(const CodedScoresArgs& args, void* stream);
void ProductScoresCuda(const ProductScoresArgs& args, void* stream);

}  // namespace athanor
