// NumPy's files: arrays (.npy), and zip archives of them (.npz). Internal to datasets/.
//
// Zip: PKWARE APPNOTE 6.3.3, stored and deflated members, found by the central directory at the
// end. npy: numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// Dense values in C order.
struct NpyArray {
  std::string bytes;  // the whole .npy
  size_t start = 0;   // of the values
  std::vector<uint64_t> shape;

  // Value i, counted over all axes.
  template <typename T>
  T at(size_t i) const {
    T value;
    std::memcpy(&value, bytes.data() + start + i * sizeof(T), sizeof(T));
    return value;
  }
};

// Takes an .npy apart. `descr`: the type that is expected, as NumPy writes it ("<f4", "|u1");
// `shape`: the shape, 0 = any size there. Throws Error, naming `where`, for other types, shapes or
// orders, and for fewer values than the shape says.
NpyArray DecodeNpy(std::string bytes, std::string_view descr, const std::vector<uint64_t>& shape,
                   std::string_view where);

// An .npz in memory. `bytes` and `name`, what messages call it, are not owned.
class NpzArchive {
 public:
  // Throws Error for what is no zip archive.
  NpzArchive(std::string_view bytes, std::string_view name);

  bool Has(std::string_view key) const;
  // Array `key`, as DecodeNpy. Throws Error when there is none, or its checksum is wrong.
  NpyArray Read(std::string_view key, std::string_view descr,
                const std::vector<uint64_t>& shape) const;

 private:
  struct Member {
    uint16_t method;  // 0 stored, 8 deflated
    uint32_t crc;
    uint64_t compressed_bytes;
    uint64_t plain_bytes;
    uint64_t offset;  // of its local header
  };

  std::string ReadMember(std::string_view member_name, const Member& member) const;

  std::string_view bytes_;
  std::string_view name_;
  std::map<std::string, Member, std::less<>> members_;
};

// An .npz of stored members, as numpy.savez writes it.
class NpzBuilder {
 public:
  // values: C order; their number is the product of `shape`. `descr` as in DecodeNpy.
  void Add(std::string_view key, std::string_view descr, const std::vector<uint64_t>& shape,
           const void* values);
  // The archive. Throws Error for one of 4 GiB or more.
  std::string Finish();

 private:
  std::string members_, directory_;
  uint16_t count_ = 0;
};

}  // namespace athanor
