#include "athanor/datasets/numpy_files.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

constexpr size_t kEndRecordBytes = 22;
constexpr uint32_t kEntryMagic = 0x02014b50;
constexpr uint32_t kMemberMagic = 0x04034b50;
// What deflate cannot exceed: 258 bytes from 2 bits, and a little more for its tables.
constexpr uint64_t kMaxDeflateRatio = 1040;

// A cursor at `offset`, which may lie beyond the end.
ByteReader ReaderAt(std::string_view bytes, std::string_view name, uint64_t offset,
                    std::string_view what) {
  ByteReader reader(bytes, name);
  ATHANOR_CHECK(offset <= bytes.size(), name, ": expected ", what, " at byte ", offset,
                ", found the end of the file at ", bytes.size());
  reader.Take(offset, what);
  return reader;
}
// What stands after 'key': in the header of an .npy, a Python dictionary.
std::string_view HeaderValue(std::string_view header, std::string_view key,
                             std::string_view where) {
  const size_t at = header.find(StrCat("'", key, "':"));
  ATHANOR_CHECK(at != std::string_view::npos, where, ": expected '", key, "' in the npy header");
  std::string_view value = header.substr(at + key.size() + 3);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}
// "(3, any, 4)"
std::string ShapeText(const std::vector<uint64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + (shape[i] == 0 ? "any" : std::to_string(shape[i]));
  }
  return text + ")";
}

}  // namespace

NpyArray DecodeNpy(std::string bytes, std::string_view descr, const std::vector<uint64_t>& shape,
                   std::string_view where) {
  NpyArray array;
  array.bytes = std::move(bytes);
  ByteReader reader(array.bytes, where);
  if (reader.Take(6, "npy magic") != std::string_view("\x93NUMPY", 6)) {
    reader.Fail("expected an npy array");
  }
  const auto version = reader.Read<uint8_t>("npy version");
  reader.Take(1, "npy version");
  const size_t header_bytes = version == 1 ? reader.Read<uint16_t>("size of the npy header")
                                           : reader.Read<uint32_t>("size of the npy header");
  const std::string_view header = reader.Take(header_bytes, "npy header");
  array.start = reader.position();

  const std::string_view type = HeaderValue(header, "descr", where);
  ATHANOR_CHECK(type.starts_with(StrCat("'", descr, "'")), where, ": expected values of type '",
                descr, "', found ", type.substr(0, type.find(',')));
  ATHANOR_CHECK(HeaderValue(header, "fortran_order", where).starts_with("False"), where,
                ": expected C order");
  std::string_view sizes = HeaderValue(header, "shape", where);
  sizes = sizes.substr(0, sizes.find(')'));
  uint64_t values = 1;
  for (size_t i = 0; i < sizes.size();) {
    uint64_t size = 0;
    const auto [end, error] = std::from_chars(sizes.data() + i, sizes.data() + sizes.size(), size);
    if (error == std::errc::invalid_argument) {
      ++i;
      continue;
    }
    i = end - sizes.data();
    const uint64_t limit = array.bytes.size() / std::max<uint64_t>(values, 1);
    ATHANOR_CHECK(error == std::errc() && size <= limit, where, ": shape ", sizes,
                  ") does not fit in its ", array.bytes.size(), " bytes");
    array.shape.push_back(size);
    values *= size;
  }
  bool as_expected = array.shape.size() == shape.size();
  for (size_t k = 0; as_expected && k < shape.size(); ++k) {
    as_expected = shape[k] == 0 || shape[k] == array.shape[k];
  }
  ATHANOR_CHECK(as_expected, where, ": shape ", sizes, ") is not as expected: ", ShapeText(shape));
  const size_t value_bytes = descr.back() - '0';
  ATHANOR_CHECK(reader.remaining() / value_bytes >= values, where, ": expected ", values,
                " values, found ", reader.remaining() / value_bytes);
  return array;
}

NpzArchive::NpzArchive(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {
  // The end record is last but for a comment of at most 65535 bytes.
  const std::string_view magic("PK\x05\x06", 4);
  const size_t end = bytes.rfind(magic);
  ATHANOR_CHECK(end != std::string_view::npos && bytes.size() - end <= kEndRecordBytes + 65535,
                name, ": byte ", bytes.size(),
                ": expected the end record of a zip archive, found none: the file is cut off");
  ByteReader reader = ReaderAt(bytes, name, end, "end record");
  reader.Take(10, "end record");
  const auto entries = reader.Read<uint16_t>("number of members");
  reader.Take(4, "size of the directory");
  const auto directory = reader.Read<uint32_t>("offset of the directory");
  reader.Take(reader.Read<uint16_t>("length of the comment"), "comment");

  reader = ReaderAt(bytes, name, directory, "zip directory");
  for (int k = 0; k < entries; ++k) {
    if (reader.Read<uint32_t>("zip directory") != kEntryMagic) {
      reader.Fail(StrCat("expected entry ", k, " of the zip directory"));
    }
    Member member;
    reader.Take(4, "versions");
    const auto flags = reader.Read<uint16_t>("flags");
    member.method = reader.Read<uint16_t>("method");
    reader.Take(4, "time");
    member.crc = reader.Read<uint32_t>("checksum");
    member.compressed_bytes = reader.Read<uint32_t>("compressed size");
    member.plain_bytes = reader.Read<uint32_t>("plain size");
    const auto name_bytes = reader.Read<uint16_t>("length of the name");
    const auto extra_bytes = reader.Read<uint16_t>("length of the extra field");
    const auto comment_bytes = reader.Read<uint16_t>("length of the comment");
    reader.Take(8, "attributes");
    member.offset = reader.Read<uint32_t>("offset of the member");
    const std::string member_name(reader.Take(name_bytes, "name of a member"));
    reader.Take(size_t{extra_bytes} + comment_bytes, "extra field");
    if ((flags & 1) != 0) reader.Fail(StrCat("member '", member_name, "' is encrypted"));
    if (member.compressed_bytes == 0xffffffff || member.plain_bytes == 0xffffffff ||
        member.offset == 0xffffffff) {
      reader.Fail(StrCat("member '", member_name, "' is of 4 GiB or more (zip64)"));
    }
    members_[member_name] = member;
  }
}
std::string NpzArchive::ReadMember(std::string_view member_name, const Member& member) const {
  ByteReader reader = ReaderAt(bytes_, name_, member.offset, "zip member");
  if (reader.Read<uint32_t>("zip member") != kMemberMagic) {
    reader.Fail(StrCat("expected the header of zip member '", member_name, "'"));
  }
  reader.Take(22, "zip member");
  const auto name_bytes = reader.Read<uint16_t>("length of the name");
  const auto extra_bytes = reader.Read<uint16_t>("length of the extra field");
  reader.Take(size_t{name_bytes} + extra_bytes, "name of a zip member");
  const size_t start = reader.position();
  const std::string_view compressed = reader.Take(member.compressed_bytes, member_name);
  const auto fail = [&](std::string_view message) {
    throw Error(StrCat(name_, ": byte ", start, ": zip member '", member_name, "': ", message));
  };
  std::string plain;
  if (member.method == 0) {
    if (member.plain_bytes != member.compressed_bytes) fail("stored, but its two sizes differ");
    plain = compressed;
  } else if (member.method == 8) {
    if (member.plain_bytes > member.compressed_bytes * kMaxDeflateRatio) {
      fail(StrCat(member.plain_bytes, " bytes cannot come out of ", member.compressed_bytes));
    }
    plain.resize(member.plain_bytes);
    z_stream stream = {};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
    stream.avail_in = static_cast<uInt>(compressed.size());
    stream.next_out = reinterpret_cast<Bytef*>(plain.data());
    stream.avail_out = static_cast<uInt>(plain.size());
    ATHANOR_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK, name_, ": cannot start zlib");
    const int result = inflate(&stream, Z_FINISH);
    const bool whole = result == Z_STREAM_END && stream.avail_out == 0;
    inflateEnd(&stream);
    if (!whole) fail(StrCat("expected ", member.plain_bytes, " bytes, its stream is damaged"));
  } else {
    fail(StrCat("expected it stored or deflated, found method ", member.method));
  }
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(plain.data()), static_cast<uInt>(plain.size()));
  if (crc != member.crc) fail("its checksum is wrong");
  return plain;
}
bool NpzArchive::Has(std::string_view key) const { return members_.contains(StrCat(key, ".npy")); }

NpyArray NpzArchive::Read(std::string_view key, std::string_view descr,
                          const std::vector<uint64_t>& shape) const {
  const std::string member_name = StrCat(key, ".npy");
  const auto found = members_.find(member_name);
  ATHANOR_CHECK(found != members_.end(), name_, ": expected an array '", key, "', found none");
  return DecodeNpy(ReadMember(member_name, found->second), descr, shape,
                   StrCat(name_, ": ", member_name));
}

void NpzBuilder::Add(std::string_view key, std::string_view descr,
                     const std::vector<uint64_t>& shape, const void* values) {
  uint64_t bytes = descr.back() - '0';
  std::string sizes;
  for (const uint64_t size : shape) {
    bytes *= size;
    sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  if (shape.size() == 1) sizes += ",";
  std::string header =
      StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (", sizes, "), }");
  // The values begin at a multiple of 64 bytes.
  constexpr size_t kBeforeHeader = 10, kAlignment = 64;
  const size_t padded = kBeforeHeader + header.size() + 1;
  header.append((kAlignment - padded % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string npy("\x93NUMPY\x01\x00", 8);
  const auto put = [](std::string* to, auto value) {
    to->append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  put(&npy, static_cast<uint16_t>(header.size()));
  npy += header;
  npy.append(static_cast<const char*>(values), bytes);

  const std::string name = StrCat(key, ".npy");
  const uint64_t offset = members_.size();
  ATHANOR_CHECK(npy.size() < 0xffffffff && offset + npy.size() < 0xffffffff && count_ < 0xffff,
                "npz: '", key, "' takes the archive to 4 GiB or more");
  const auto crc =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(npy.data()), npy.size()));
  const auto size = static_cast<uint32_t>(npy.size());
  // What a member's own header and its directory entry share.
  std::string common;
  put(&common, uint16_t{20});          // version that can read it
  put(&common, uint16_t{0});           // flags
  put(&common, uint16_t{0});           // stored
  put(&common, uint32_t{0x00210000});  // 1980-01-01, so that the bytes depend on the arrays alone
  put(&common, crc);
  put(&common, size);
  put(&common, size);
  put(&common, static_cast<uint16_t>(name.size()));
  put(&common, uint16_t{0});  // extra field
  put(&members_, kMemberMagic);
  members_ += common + name + npy;
  put(&directory_, kEntryMagic);
  put(&directory_, uint16_t{20});  // version that made it
  directory_ += common;
  directory_.append(10, '\0');  // comment, disk, attributes
  put(&directory_, static_cast<uint32_t>(offset));
  directory_ += name;
  ++count_;
}

std::string NpzBuilder::Finish() {
  std::string end("PK\x05\x06\0\0\0\0", 8);
  const auto put = [&](auto value) {
    end.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  put(count_);
  put(count_);
  put(static_cast<uint32_t>(directory_.size()));
  put(static_cast<uint32_t>(members_.size()));
  put(uint16_t{0});  // comment
  return members_ + directory_ + end;
}

}  // namespace athanor
