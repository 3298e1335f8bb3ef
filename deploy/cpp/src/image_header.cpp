#include "image_header.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "ppdet/detector.hpp"

namespace ppdet {
namespace {

constexpr size_t kMostScans = 100;  // each costs a pass over the whole image
constexpr unsigned kOrientation = 0x0112, kWidth = 256, kHeight = 257;

enum class Order { kBig, kLittle };

// `bytes` with checked reading: std::out_of_range behind the end.
class Reader {
 public:
  explicit Reader(const Bytes& bytes) : bytes_(bytes) {}

  std::uint64_t number(size_t at, size_t size, Order order) const {
    std::uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_.at(at + (order == Order::kLittle ? size - 1 - i : i));
    }
    return value;
  }
  bool is(size_t at, const std::string& text) const {
    return at + text.size() <= bytes_.size() &&
           std::memcmp(&bytes_[at], text.data(), text.size()) == 0;
  }
  size_t size() const { return bytes_.size(); }

 private:
  const Bytes& bytes_;
};

struct Tiff {
  double width = 0, height = 0;
  int orientation = 0;
};

// Size and orientation in the first directory of a TIFF file that begins at `start`.
Tiff read_tiff(const Reader& reader, size_t start) {
  const Order order = reader.is(start, "II") ? Order::kLittle : Order::kBig;
  const size_t directory = start + reader.number(start + 4, 4, order);
  const size_t entries = reader.number(directory, 2, order);
  Tiff tiff;
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    const std::uint64_t tag = reader.number(entry, 2, order);
    const size_t size = reader.number(entry + 2, 2, order) == 3 ? 2 : 4;  // short or long
    const std::uint64_t value = reader.number(entry + 8, size, order);
    if (tag == kWidth) tiff.width = static_cast<double>(value);
    if (tag == kHeight) tiff.height = static_cast<double>(value);
    if (tag == kOrientation) tiff.orientation = static_cast<int>(value);
  }
  return tiff;
}

void read_jpeg(const Bytes& bytes, const Reader& reader, ImageHeader& header) {
  header.is_jpeg = true;
  for (size_t at = 2;;) {
    const std::uint64_t marker = reader.number(at, 2, Order::kBig);
    if (marker < 0xFF00) throw std::out_of_range("no marker");
    const std::uint64_t kind = marker & 0xFF;
    if (kind == 0xFF) {
      ++at;
    } else if (kind == 0xDA) {
      constexpr unsigned char end[] = {0xFF, 0xD9};
      const auto scan = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      header.is_cut = std::search(scan, bytes.end(), std::begin(end), std::end(end)) == bytes.end();
      return;
    } else if (kind == 0x01 || (kind >= 0xD0 && kind <= 0xD8)) {
      at += 2;
    } else {
      if (kind >= 0xC0 && kind <= 0xCF && kind != 0xC4 && kind != 0xC8 && kind != 0xCC) {
        header.pixels = static_cast<double>(reader.number(at + 5, 2, Order::kBig)) *
                        static_cast<double>(reader.number(at + 7, 2, Order::kBig));
      }
      at += 2 + reader.number(at + 2, 2, Order::kBig);
    }
  }
}

void read_webp(const Reader& reader, ImageHeader& header) {
  constexpr size_t kPart = 12;
  if (reader.is(kPart, "VP8X")) {
    header.pixels = (1.0 + static_cast<double>(reader.number(24, 3, Order::kLittle))) *
                    (1.0 + static_cast<double>(reader.number(27, 3, Order::kLittle)));
  } else if (reader.is(kPart, "VP8L")) {
    const std::uint64_t bits = reader.number(21, 4, Order::kLittle);
    header.pixels = (1.0 + static_cast<double>(bits & 0x3FFF)) *
                    (1.0 + static_cast<double>(bits >> 14 & 0x3FFF));
  } else {
    header.pixels = static_cast<double>(reader.number(26, 2, Order::kLittle) & 0x3FFF) *
                    static_cast<double>(reader.number(28, 2, Order::kLittle) & 0x3FFF);
  }
  for (size_t at = kPart; at + 8 <= reader.size();) {
    const size_t length = reader.number(at + 4, 4, Order::kLittle);
    if (reader.is(at, "EXIF")) {
      header.orientation = read_tiff(reader, at + (reader.is(at + 8, "Exif") ? 14 : 8)).orientation;
      return;
    }
    at += 8 + length + length % 2;
  }
}

size_t count_scans(const Bytes& bytes) {
  size_t scans = 0;
  for (size_t i = 0; i + 1 < bytes.size(); ++i) scans += bytes[i] == 0xFF && bytes[i + 1] == 0xDA;
  return scans;
}

}  // namespace

ImageHeader read_header(const Bytes& bytes, const std::string& name) {
  const Reader reader(bytes);
  ImageHeader header;
  try {
    if (reader.is(0, "\xFF\xD8\xFF")) {
      read_jpeg(bytes, reader, header);
    } else if (reader.is(0, "\x89PNG\r\n")) {
      header.pixels = static_cast<double>(reader.number(16, 4, Order::kBig)) *
                      static_cast<double>(reader.number(20, 4, Order::kBig));
    } else if (reader.is(0, "BM")) {
      const auto height = static_cast<std::int32_t>(reader.number(22, 4, Order::kLittle));
      header.pixels = static_cast<double>(reader.number(18, 4, Order::kLittle)) *
                      std::abs(static_cast<double>(height));
    } else if (reader.is(0, "RIFF") && reader.is(8, "WEBP")) {
      read_webp(reader, header);
    } else if (reader.is(0, std::string("II*\0", 4)) || reader.is(0, std::string("MM\0*", 4))) {
      const Tiff tiff = read_tiff(reader, 0);
      header.pixels = tiff.width * tiff.height;
    } else {
      throw ImageError(name + ": not an image; images may be JPEG, PNG, BMP, WebP, TIFF");
    }
  } catch (const std::out_of_range&) {
    throw ImageError(name + ": a damaged image file (its header is cut short)");
  }
  if (header.is_jpeg) {
    if (const size_t scans = count_scans(bytes); scans > kMostScans) {
      throw ImageError(name + ": a JPEG of " + std::to_string(scans) + " scans, allowed: at most " +
                       std::to_string(kMostScans));
    }
  }
  return header;
}

}  // namespace ppdet
