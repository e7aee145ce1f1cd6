// CRC32C (Castagnoli; RFC 3720, appendix B.4): what guards each block of a shard. The processor's
// own instruction where it has one (SSE4.2, ARMv8), chosen at run time, else a table.
#pragma once

#include <cstdint>
#include <string_view>

namespace athanor {

// Of `bytes`, or of what `crc` stands for with `bytes` behind it. Thread-safe.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// "SSE4.2", "ARMv8" or "table": what Crc32c uses here.
std::string_view Crc32cMethod();

namespace internal {
// Eight bytes a step by tables: any machine, and the tests' second opinion.
uint32_t Crc32cTable(std::string_view bytes, uint32_t crc = 0);
}  // namespace internal

}  // namespace athanor
