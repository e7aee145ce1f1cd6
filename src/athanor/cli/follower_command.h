// How a command starts the other processes of its training.
#pragma once

#include "athanor/nn/process_group.h"

namespace athanor {

// `detect follow`, by this program, on that many threads.
FollowerCommand FollowThisProgram(int threads);

}  // namespace athanor
