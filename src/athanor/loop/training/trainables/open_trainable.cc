#include "athanor/loop/training/trainables/open_trainable.h"

#include "athanor/base/error.h"
#include "athanor/loop/training/stream_problem.h"

namespace athanor {

std::unique_ptr<Trainable> OpenTrainable(const std::string& kind, std::string_view toml,
                                         std::string_view name, const FollowerCommand& follower) {
  if (kind == "stream") return StreamProblem::FromToml(toml, name);
  ATHANOR_CHECK(kind == "detector", name, ": there is no trainable '", kind, "'");
  return MakeDetectorTrainable(ParseDetectorTrainable(toml, name), follower);
}

}  // namespace athanor
