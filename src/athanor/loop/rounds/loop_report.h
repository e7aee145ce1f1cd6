// A loop on one page: how the models got on, what was found, what it cost. HTML with its plots and
// pictures inside.
#pragma once

#include <filesystem>
#include <string>

namespace athanor {

// Of the loop in `folder`, as far as it has come. Throws Error when there is none.
std::string MakeLoopReport(const std::filesystem::path& folder);

}  // namespace athanor
