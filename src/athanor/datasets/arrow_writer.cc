// FormatArrow: schema, record batches and footer, as version V5 of the format.
#include <lz4frame.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/datasets/arrow_file.h"
#include "athanor/datasets/arrow_format_generated.h"

namespace athanor {
namespace {

namespace format = arrow_format;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

void PadTo8(std::string& bytes) { bytes.resize((bytes.size() + 7) / 8 * 8); }

template <typename T>
void AppendValue(const T& value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::pair<format::Type, Offset<void>> TypeOf(ArrowType type, FlatBufferBuilder& builder) {
  const int number = static_cast<int>(type);
  if (type <= ArrowType::kUint64) {
    return {format::Type::Int,
            format::CreateInt(builder, 8 << number % 4, type < ArrowType::kUint8).Union()};
  }
  if (type <= ArrowType::kFloat64) {
    const auto precision =
        static_cast<format::Precision>(number - static_cast<int>(ArrowType::kFloat16));
    return {format::Type::FloatingPoint, format::CreateFloatingPoint(builder, precision).Union()};
  }
  const format::Type text = type == ArrowType::kUtf8 ? format::Type::Utf8 : format::Type::LargeUtf8;
  return {type == ArrowType::kBool ? format::Type::Bool : text,
          format::CreateOther(builder).Union()};
}

Offset<format::Schema> AddSchema(const ArrowTable& table, FlatBufferBuilder& builder) {
  std::vector<Offset<format::Field>> fields;
  for (const ArrowColumn& column : table.columns()) {
    const auto name = builder.CreateString(column.name);
    const auto [type, definition] = TypeOf(column.type, builder);
    // Readers expect the list of children to be there, if empty.
    const auto children = builder.CreateVector(std::vector<Offset<format::Field>>());
    fields.push_back(format::CreateField(builder, name, true, type, definition, 0, children));
  }
  return format::CreateSchema(builder, format::Endianness::Little, builder.CreateVector(fields));
}

// Adds a message's metadata, with the prefix and padding of the format; returns their length.
int32_t AppendMessage(format::MessageHeader type, Offset<void> header, int64_t body_length,
                      FlatBufferBuilder& builder, std::string& file) {
  builder.Finish(
      format::CreateMessage(builder, format::MetadataVersion::V5, type, header, body_length));
  const auto length = static_cast<int32_t>((builder.GetSize() + 7) / 8 * 8);
  AppendValue(uint32_t{0xffffffff}, file);
  AppendValue(length, file);
  file.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
  PadTo8(file);
  return length + 8;
}

std::string Compressed(std::string_view bytes, ArrowCompression compression) {
  std::string out;
  size_t size = 0;
  if (compression == ArrowCompression::kLz4) {
    out.resize(LZ4F_compressFrameBound(bytes.size(), nullptr));
    size = LZ4F_compressFrame(out.data(), out.size(), bytes.data(), bytes.size(), nullptr);
    ATHANOR_CHECK(!LZ4F_isError(size), "LZ4: ", LZ4F_getErrorName(size));
  } else {
    out.resize(ZSTD_compressBound(bytes.size()));
    size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1);
    ATHANOR_CHECK(!ZSTD_isError(size), "Zstandard: ", ZSTD_getErrorName(size));
  }
  out.resize(size);
  return out;
}

class Batch {
 public:
  Batch(int64_t begin, int64_t end, ArrowCompression compression)
      : begin_(begin), end_(end), compression_(compression) {}

  void Add(const ArrowColumn& column) {
    int64_t nulls = 0;
    if (!column.valid.empty()) {
      nulls = std::count(column.valid.begin() + begin_, column.valid.begin() + end_, 0);
    }
    nodes_.emplace_back(end_ - begin_, nulls);
    AddBuffer(nulls == 0 ? std::string() : Bits(column.valid));
    const char* values = reinterpret_cast<const char*>(column.values.data());
    if (column.type == ArrowType::kBool) {
      AddBuffer(Bits(column.values));
    } else if (column.type == ArrowType::kUtf8 || column.type == ArrowType::kLargeUtf8) {
      const int64_t first = begin_ == 0 ? 0 : column.ends[begin_ - 1];
      const int64_t last = end_ == 0 ? 0 : column.ends[end_ - 1];
      std::string offsets;
      for (int64_t row = begin_; row <= end_; ++row) {
        const int64_t offset = (row == 0 ? 0 : column.ends[row - 1]) - first;
        if (column.type == ArrowType::kLargeUtf8) {
          AppendValue(offset, offsets);
        } else {
          ATHANOR_CHECK(offset <= INT32_MAX, "column ", column.name,
                        ": expected less than 2 GB of text in a record batch");
          AppendValue(static_cast<int32_t>(offset), offsets);
        }
      }
      AddBuffer(offsets);
      AddBuffer(std::string_view(values + first, last - first));
    } else {
      const size_t width = ArrowTypeBytes(column.type);
      AddBuffer(std::string_view(values + begin_ * width, (end_ - begin_) * width));
    }
  }

  // Adds the batch to the file and says where it lies.
  format::Block AppendTo(std::string& file) const {
    FlatBufferBuilder builder;
    const auto nodes = builder.CreateVectorOfStructs(nodes_);
    const auto buffers = builder.CreateVectorOfStructs(buffers_);
    Offset<format::BodyCompression> compression;
    if (compression_ != ArrowCompression::kNone) {
      compression = format::CreateBodyCompression(builder,
                                                  compression_ == ArrowCompression::kLz4
                                                      ? format::CompressionType::LZ4_FRAME
                                                      : format::CompressionType::ZSTD,
                                                  format::BodyCompressionMethod::BUFFER);
    }
    const auto batch =
        format::CreateRecordBatch(builder, end_ - begin_, nodes, buffers, compression);
    const auto body_length = static_cast<int64_t>(body_.size());
    const auto offset = static_cast<int64_t>(file.size());
    const int32_t metadata_length = AppendMessage(format::MessageHeader::RecordBatch, batch.Union(),
                                                  body_length, builder, file);
    file += body_;
    return {offset, metadata_length, body_length};
  }

 private:
  std::string Bits(const std::vector<uint8_t>& bytes) const {
    std::string bits((end_ - begin_ + 7) / 8, '\0');
    for (int64_t row = begin_; row < end_; ++row) {
      const int64_t i = row - begin_;
      if (bytes[row] != 0) bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << i % 8);
    }
    return bits;
  }

  void AddBuffer(std::string_view bytes) {
    const size_t begin = body_.size();
    if (compression_ != ArrowCompression::kNone && !bytes.empty()) {
      const std::string compressed = Compressed(bytes, compression_);
      const bool pays = compressed.size() < bytes.size();
      AppendValue(pays ? static_cast<int64_t>(bytes.size()) : int64_t{-1}, body_);
      body_ += pays ? std::string_view(compressed) : bytes;
    } else {
      body_ += bytes;
    }
    buffers_.emplace_back(static_cast<int64_t>(begin), static_cast<int64_t>(body_.size() - begin));
    PadTo8(body_);
  }

  int64_t begin_, end_;
  ArrowCompression compression_;
  std::string body_;
  std::vector<format::FieldNode> nodes_;
  std::vector<format::Buffer> buffers_;
};

}  // namespace

std::string FormatArrow(const ArrowTable& table, ArrowCompression compression, int64_t batch_rows) {
  std::string file("ARROW1\0\0", 8);
  {
    FlatBufferBuilder builder;
    const auto schema = AddSchema(table, builder);
    AppendMessage(format::MessageHeader::Schema, schema.Union(), 0, builder, file);
  }
  std::vector<format::Block> blocks;
  const int64_t step = batch_rows > 0 ? batch_rows : std::max<int64_t>(table.rows(), 1);
  for (int64_t begin = 0; begin < table.rows(); begin += step) {
    Batch batch(begin, std::min(begin + step, table.rows()), compression);
    for (const ArrowColumn& column : table.columns()) batch.Add(column);
    blocks.push_back(batch.AppendTo(file));
  }
  AppendValue(uint32_t{0xffffffff}, file);
  AppendValue(uint32_t{0}, file);

  FlatBufferBuilder builder;
  const auto schema = AddSchema(table, builder);
  const auto dictionaries = builder.CreateVectorOfStructs(std::vector<format::Block>());
  const auto batches = builder.CreateVectorOfStructs(blocks);
  builder.Finish(
      format::CreateFooter(builder, format::MetadataVersion::V5, schema, dictionaries, batches));
  file.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
  AppendValue(static_cast<int32_t>(builder.GetSize()), file);
  file += "ARROW1";
  return file;
}

}  // namespace athanor
