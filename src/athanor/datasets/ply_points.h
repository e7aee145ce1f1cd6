// Coloured points of a PLY file: ASCII or binary of either byte order, properties of any type and
// order, other elements and properties skipped.
//
// Format: Turk 1994, "The PLY Polygon File Format".
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "athanor/datasets/posed_images.h"

namespace athanor {

// The element "vertex" with x, y, z and, when there, red, green, blue: integers of 0 to 255 (16-bit
// ones of 0 to 65535), or real numbers of 0 to 1; grey without them. `name` is the path that
// messages name. With `labels`, the property "label" of every vertex is added to them; it must be
// there. Throws Error (name, line of the header or byte or record, expectation).
std::vector<ColoredPoint> ParsePlyPoints(std::string_view bytes, std::string_view name,
                                         std::vector<int>* labels = nullptr);

std::vector<ColoredPoint> ReadPlyPoints(const std::filesystem::path& path,
                                        std::vector<int>* labels = nullptr);

}  // namespace athanor
