// What the tests of every module share.
#pragma once

#include <string>

#include "athanor/base/error.h"

namespace athanor {

// The message of the Error that `f` throws; empty when it throws none.
template <typename F>
std::string ErrorOf(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace athanor
