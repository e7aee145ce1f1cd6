// ParseArrow: the metadata is checked by the verifier of FlatBuffers before it is looked at, and
// every offset and length in it against the file before it is used.
#include <lz4frame.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/arrow_file.h"
#include "athanor/datasets/arrow_format_generated.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace format = arrow_format;

constexpr std::string_view kMagic = "ARROW1";
constexpr int64_t kMaxRows = int64_t{1} << 40;

// Metadata, copied to where it is aligned.
template <typename Root>
struct Metadata {
  std::vector<uint64_t> words;
  const Root* root = nullptr;
};

template <typename Root>
Metadata<Root> Verified(std::string_view bytes, std::string_view name, size_t position,
                        std::string_view what) {
  constexpr size_t kMaxBytes = size_t{1} << 30;  // FlatBuffers have offsets of 32 bits
  ATHANOR_CHECK(bytes.size() < kMaxBytes, name, ": byte ", position, ": expected ", what,
                " of less ", "than ", kMaxBytes, " bytes, found ", bytes.size());
  Metadata<Root> metadata;
  metadata.words.resize(bytes.size() / 8 + 1);
  std::memcpy(metadata.words.data(), bytes.data(), bytes.size());
  const auto* data = reinterpret_cast<const uint8_t*>(metadata.words.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  ATHANOR_CHECK(verifier.VerifyBuffer<Root>(nullptr), name, ": byte ", position, ": expected ",
                what, ", found what is no valid FlatBuffer");
  metadata.root = flatbuffers::GetRoot<Root>(data);
  return metadata;
}

// The structs of a vector, which the verifier does not check for their alignment.
template <typename T>
std::vector<T> Structs(const flatbuffers::Vector<const T*>* vector) {
  std::vector<T> structs(vector == nullptr ? 0 : vector->size());
  if (!structs.empty()) std::memcpy(structs.data(), vector->Data(), structs.size() * sizeof(T));
  return structs;
}

std::string_view NameOf(const format::Field& field) {
  return field.name() == nullptr ? std::string_view() : std::string_view(field.name()->c_str());
}

ArrowType TypeOf(const format::Field& field, std::string_view name) {
  const auto fail = [&](std::string_view found) -> ArrowType {
    throw Error(StrCat(name, ": column ", Quoted(NameOf(field)),
                       ": expected numbers, booleans or text, found ", found));
  };
  if (field.dictionary() != nullptr) return fail("dictionary-encoded values");
  switch (field.type_type()) {
    case format::Type::Int: {
      const auto* type = field.type_as_Int();
      if (type == nullptr) return fail("a damaged type");
      const int first = static_cast<int>(type->is_signed() ? ArrowType::kInt8 : ArrowType::kUint8);
      for (int i = 0; i < 4; ++i) {
        if (type->bit_width() == 8 << i) return static_cast<ArrowType>(first + i);
      }
      return fail(StrCat("integers of ", type->bit_width(), " bits"));
    }
    case format::Type::FloatingPoint: {
      const auto* type = field.type_as_FloatingPoint();
      if (type == nullptr) return fail("a damaged type");
      const int precision = static_cast<int>(type->precision());
      if (precision < 0 || precision > 2) return fail(StrCat("precision ", precision));
      return static_cast<ArrowType>(static_cast<int>(ArrowType::kFloat16) + precision);
    }
    case format::Type::Bool:
      return ArrowType::kBool;
    case format::Type::Utf8:
      return ArrowType::kUtf8;
    case format::Type::LargeUtf8:
      return ArrowType::kLargeUtf8;
    default:
      return fail(StrCat("type number ", static_cast<int>(field.type_type()), " of the format"));
  }
}

std::vector<ArrowColumn> ReadSchema(const format::Schema* schema, std::string_view name) {
  ATHANOR_CHECK(schema != nullptr && schema->fields() != nullptr, name,
                ": footer: expected a schema, found none");
  ATHANOR_CHECK(schema->endianness() == format::Endianness::Little, name,
                ": footer: expected little-endian values, found byte order ",
                static_cast<int>(schema->endianness()));
  std::vector<ArrowColumn> columns;
  for (const format::Field* field : *schema->fields()) {
    ArrowColumn column;
    column.name = NameOf(*field);
    column.type = TypeOf(*field, name);
    columns.push_back(std::move(column));
  }
  return columns;
}

struct Lz4Deleter {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

// Why it is damaged; empty when `out` was filled exactly.
std::string DecompressLz4(std::string_view in, std::vector<uint8_t>& out) {
  LZ4F_dctx* raw = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&raw, LZ4F_VERSION))) return "out of memory";
  const std::unique_ptr<LZ4F_dctx, Lz4Deleter> context(raw);
  size_t read = 0, written = 0;
  while (true) {
    size_t read_now = in.size() - read, written_now = out.size() - written;
    const size_t hint = LZ4F_decompress(context.get(), out.data() + written, &written_now,
                                        in.data() + read, &read_now, nullptr);
    if (LZ4F_isError(hint)) return LZ4F_getErrorName(hint);
    read += read_now;
    written += written_now;
    if (hint == 0) break;
    if (read_now == 0 && written_now == 0) {
      return written == out.size() ? "it holds more than declared" : "it ends early";
    }
  }
  return written == out.size() ? "" : StrCat("it holds ", written, " bytes");
}

std::string DecompressZstd(std::string_view in, std::vector<uint8_t>& out) {
  const size_t size = ZSTD_decompress(out.data(), out.size(), in.data(), in.size());
  if (ZSTD_isError(size)) return ZSTD_getErrorName(size);
  return size == out.size() ? "" : StrCat("it holds ", size, " bytes");
}

class Reader {
 public:
  Reader(std::string_view bytes, std::string_view name, uint64_t max_bytes)
      : bytes_(bytes), name_(name), budget_(max_bytes) {}

  ArrowTable Read() {
    const size_t tail = kMagic.size() + 4;
    ATHANOR_CHECK(bytes_.size() >= 8 + tail && bytes_.starts_with(kMagic), name_,
                  ": byte 0: expected an Arrow IPC file (Feather version 2), which begins with "
                  "'ARROW1'");
    ATHANOR_CHECK(bytes_.ends_with(kMagic), name_, ": byte ", bytes_.size() - kMagic.size(),
                  ": expected 'ARROW1' at the end of the file: it is cut off");
    ByteReader length(bytes_.substr(bytes_.size() - tail, 4), name_);
    const auto footer_bytes = length.Read<int32_t>("length of the footer");
    ATHANOR_CHECK(footer_bytes > 0 && static_cast<size_t>(footer_bytes) <= bytes_.size() - tail - 8,
                  name_, ": byte ", bytes_.size() - tail,
                  ": expected the length of a footer within the file, found ", footer_bytes);
    body_end_ = bytes_.size() - tail - footer_bytes;
    const auto footer = Verified<format::Footer>(bytes_.substr(body_end_, footer_bytes), name_,
                                                 body_end_, "the footer");
    columns_ = ReadSchema(footer.root->schema(), name_);
    for (const format::Block& block : Structs(footer.root->record_batches())) ReadBatch(block);
    ArrowTable table(std::string(name_), rows_);
    for (ArrowColumn& column : columns_) table.Add(std::move(column));
    return table;
  }

 private:
  void ReadBatch(const format::Block& block) {
    const int64_t end = static_cast<int64_t>(body_end_);
    const bool inside = block.offset() >= 0 && block.metadata_length() >= 8 &&
                        block.body_length() >= 0 && block.offset() <= end &&
                        block.metadata_length() <= end - block.offset() &&
                        block.body_length() <= end - block.offset() - block.metadata_length();
    ATHANOR_CHECK(inside, name_, ": footer: record batch ", batch_,
                  ": expected a place within the file's ", end, " bytes, found offset ",
                  block.offset(), ", lengths ", block.metadata_length(), " and ",
                  block.body_length());
    std::string_view metadata = bytes_.substr(block.offset(), block.metadata_length());
    ByteReader prefix(metadata, name_);
    auto length = prefix.Read<uint32_t>("length of the metadata");
    if (length == 0xffffffffu) length = prefix.Read<uint32_t>("length of the metadata");
    ATHANOR_CHECK(length <= prefix.remaining(), name_, ": byte ", block.offset(),
                  ": expected metadata of at most ", prefix.remaining(), " bytes, found ", length);
    metadata = metadata.substr(prefix.position(), length);
    const auto message =
        Verified<format::Message>(metadata, name_, block.offset(), "a message's metadata");
    const format::RecordBatch* batch = message.root->header_as_RecordBatch();
    ATHANOR_CHECK(batch != nullptr, name_, ": byte ", block.offset(),
                  ": expected a record batch, found another message");
    ATHANOR_CHECK(batch->length() >= 0 && batch->length() <= kMaxRows - rows_, name_, ": byte ",
                  block.offset(), ": expected a number of rows, found ", batch->length());
    body_position_ = block.offset() + block.metadata_length();
    body_ = bytes_.substr(body_position_, block.body_length());
    compression_ = batch->compression();
    buffers_ = Structs(batch->buffers());
    next_buffer_ = 0;
    const std::vector<format::FieldNode> nodes = Structs(batch->nodes());
    ATHANOR_CHECK(nodes.size() >= columns_.size(), name_, ": byte ", block.offset(), ": expected ",
                  columns_.size(), " columns in the record batch, found ", nodes.size());
    for (size_t i = 0; i < columns_.size(); ++i) {
      const format::FieldNode& node = nodes[i];
      ATHANOR_CHECK(node.length() == batch->length(), name_, ": byte ", block.offset(), ": column ",
                    Quoted(columns_[i].name), ": expected ", batch->length(), " rows, found ",
                    node.length());
      ReadColumn(node.null_count() != 0, batch->length(), columns_[i]);
    }
    rows_ += batch->length();
    ++batch_;
  }

  void ReadColumn(bool has_nulls, int64_t rows, ArrowColumn& column) {
    column_ = &column;
    const std::string_view bits = NextBuffer("validity", has_nulls ? (rows + 7) / 8 : 0, true);
    if (has_nulls && !bits.empty()) {
      Spend(rows + (column.valid.empty() ? rows_ : 0));
      column.valid.resize(rows_, 1);
      AppendBits(bits, rows, column.valid);
    } else if (!column.valid.empty()) {
      Spend(rows);
      column.valid.resize(rows_ + rows, 1);
    }
    if (column.type == ArrowType::kBool) {
      const std::string_view values = NextBuffer("values", (rows + 7) / 8);
      Spend(rows);
      AppendBits(values, rows, column.values);
    } else if (column.type == ArrowType::kUtf8) {
      ReadText<int32_t>(rows, column);
    } else if (column.type == ArrowType::kLargeUtf8) {
      ReadText<int64_t>(rows, column);
    } else {
      const size_t size = rows * ArrowTypeBytes(column.type);
      const std::string_view values = NextBuffer("values", size);
      Spend(size);
      column.values.insert(column.values.end(), values.begin(), values.begin() + size);
    }
  }

  template <typename Offset>
  void ReadText(int64_t rows, ArrowColumn& column) {
    // A column of no rows may leave its one offset out.
    const std::string_view bytes =
        NextBuffer("offsets", rows == 0 ? 0 : (rows + 1) * sizeof(Offset));
    Spend(rows * sizeof(int64_t));
    const auto offset = [&](int64_t row) {
      Offset value;
      std::memcpy(&value, bytes.data() + row * sizeof(Offset), sizeof value);
      return static_cast<int64_t>(value);
    };
    const int64_t first = rows == 0 ? 0 : offset(0), last = rows == 0 ? 0 : offset(rows);
    ATHANOR_CHECK(first >= 0 && last >= first, Where(),
                  "offsets of text: expected 0 <= first <= ", "last, found ", first, " and ", last);
    // The offsets are only read above: the buffer that they were decompressed to gives way here.
    std::vector<int64_t> ends(rows);
    int64_t previous = first;
    const auto base = static_cast<int64_t>(column.values.size());
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t end = offset(row + 1);
      ATHANOR_CHECK(end >= previous && end <= last, Where(), "row ", rows_ + row,
                    ": expected its text to end between ", previous, " and ", last, ", found ",
                    end);
      ends[row] = base + end - first;
      previous = end;
    }
    const std::string_view text = NextBuffer("text", last);
    Spend(last - first);
    column.ends.insert(column.ends.end(), ends.begin(), ends.end());
    column.values.insert(column.values.end(), text.begin() + first, text.begin() + last);
  }

  static void AppendBits(std::string_view bits, int64_t rows, std::vector<uint8_t>& bytes) {
    const size_t begin = bytes.size();
    bytes.resize(begin + rows);
    for (int64_t i = 0; i < rows; ++i) {
      bytes[begin + i] = static_cast<uint8_t>(bits[i / 8]) >> (i % 8) & 1;
    }
  }

  // The next buffer of the record batch, decompressed, of at least `needed` bytes (or empty, where
  // that is allowed). Valid until the next call.
  std::string_view NextBuffer(std::string_view what, uint64_t needed, bool may_be_empty = false) {
    what_ = what;
    ATHANOR_CHECK(next_buffer_ < buffers_.size(), Where(),
                  "expected a buffer, but the record batch has no more");
    const format::Buffer& buffer = buffers_[next_buffer_++];
    const auto size = static_cast<int64_t>(body_.size());
    ATHANOR_CHECK(buffer.offset() >= 0 && buffer.length() >= 0 && buffer.offset() <= size &&
                      buffer.length() <= size - buffer.offset(),
                  Where(), "expected a buffer within the ", size,
                  " bytes of the record batch, found offset ", buffer.offset(), ", length ",
                  buffer.length());
    std::string_view bytes = body_.substr(buffer.offset(), buffer.length());
    if (compression_ != nullptr && !bytes.empty()) bytes = Decompressed(bytes);
    ATHANOR_CHECK(bytes.size() >= needed || (may_be_empty && bytes.empty()), Where(), "expected ",
                  needed, " bytes, found ", bytes.size());
    return bytes;
  }

  std::string_view Decompressed(std::string_view bytes) {
    ByteReader reader(bytes, name_);
    const auto size = reader.Read<int64_t>("size of a compressed buffer");
    bytes.remove_prefix(8);
    if (size == -1) return bytes;  // it was smaller without
    ATHANOR_CHECK(compression_->method() == format::BodyCompressionMethod::BUFFER, Where(),
                  "expected buffers compressed one by one, found method ",
                  static_cast<int>(compression_->method()));
    ATHANOR_CHECK(size >= 0 && static_cast<uint64_t>(size) <= budget_, Where(), "expected at most ",
                  budget_, " bytes, found that it declares ", size);
    const bool is_lz4 = compression_->codec() == format::CompressionType::LZ4_FRAME;
    ATHANOR_CHECK(is_lz4 || compression_->codec() == format::CompressionType::ZSTD, Where(),
                  "expected compression by LZ4 or Zstandard, found number ",
                  static_cast<int>(compression_->codec()));
    if (is_lz4) {
      // A byte of LZ4 is worth 255 at the most.
      ATHANOR_CHECK(static_cast<uint64_t>(size) <= 256 * uint64_t{bytes.size()}, Where(),
                    bytes.size(), " bytes of LZ4 cannot hold the ", size, " that it declares");
    } else {
      const auto content = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
      ATHANOR_CHECK(content == static_cast<uint64_t>(size) || content == ZSTD_CONTENTSIZE_UNKNOWN,
                    Where(), "expected a Zstandard frame of the ", size,
                    " bytes that it declares, found another");
    }
    decompressed_.resize(size);
    const std::string error =
        is_lz4 ? DecompressLz4(bytes, decompressed_) : DecompressZstd(bytes, decompressed_);
    ATHANOR_CHECK(error.empty(), Where(), "expected ", size, " bytes of compressed data: ", error);
    return {reinterpret_cast<const char*>(decompressed_.data()), decompressed_.size()};
  }

  void Spend(uint64_t bytes) {
    ATHANOR_CHECK(bytes <= budget_, Where(), "the table would take more memory than is allowed");
    budget_ -= bytes;
  }

  std::string Where() const {
    return StrCat(name_, ": byte ", body_position_, ": record batch ", batch_, ": column ",
                  Quoted(column_->name), ": ", what_, ": ");
  }

  std::string_view bytes_;
  std::string_view name_;
  uint64_t budget_;  // bytes of memory that columns may still take
  size_t body_end_ = 0;
  std::vector<ArrowColumn> columns_;
  int64_t rows_ = 0;
  int64_t batch_ = 0;
  // Of the current record batch.
  size_t body_position_ = 0;
  std::string_view body_;
  const format::BodyCompression* compression_ = nullptr;
  std::vector<format::Buffer> buffers_;
  size_t next_buffer_ = 0;
  const ArrowColumn* column_ = nullptr;
  std::string_view what_;
  std::vector<uint8_t> decompressed_;
};

}  // namespace

ArrowTable ParseArrow(std::string_view bytes, std::string_view name, uint64_t max_bytes) {
  return Reader(bytes, name, max_bytes).Read();
}

}  // namespace athanor
