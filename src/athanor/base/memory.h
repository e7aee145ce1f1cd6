// The heap, for work that takes and gives back the same hundreds of megabytes again and again.
#pragma once

namespace athanor {

// Freed memory stays with the process from now on. By default the C library gives large blocks back
// at once, and the system clears their pages each time they are taken: a fifth of a training step.
void KeepFreedMemory();

}  // namespace athanor
