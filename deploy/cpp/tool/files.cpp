#include <unistd.h>

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "quiet.hpp"
#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr int kJpegQuality = 95;

// Stands before the two digits of a byte that is not UTF-8; JSON writes this letter as \u001f.
constexpr char kByteMark = 0x1F;

// Length of the letter in UTF-8 that begins at a place; 0 if none does.
size_t letter_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first == kByteMark ? 0 : 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool is_outside = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                          (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return is_outside ? 0 : length;
}

}  // namespace

std::string utf8(const std::string& text) {
  constexpr const char* digits = "0123456789abcdef";
  std::string valid;
  for (size_t at = 0; at < text.size();) {
    const size_t length = letter_length(text, at);
    if (length > 0) {
      valid += text.substr(at, length);
    } else {
      const auto byte = static_cast<unsigned char>(text[at]);
      valid += {kByteMark, digits[byte >> 4], digits[byte & 15]};
    }
    at += std::max(length, size_t{1});
  }
  return valid;
}

std::string json_text(const Json& content, int indent) {
  const std::string mark = "\\u001f";
  std::string text = content.dump(indent);
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
    text.replace(at, mark.size(), "\\udc");
  }
  return text;
}

cv::Mat read_quietly(const fs::path& path) {
  const NoStandardError quiet;
  return read_image(path);
}

void make_folder(const fs::path& folder, const fs::path& file) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed && !fs::is_directory(folder)) {
    throw Error(file.string() + ": cannot be written (" + failed.message() + ")");
  }
}

void write_text(const fs::path& path, const std::string& text) {
  const fs::path part = path.string() + "." + std::to_string(getpid()) + ".part";
  make_folder(fs::absolute(path).parent_path(), path);
  std::error_code failed;
  {
    std::ofstream stream(part, std::ios::binary);
    stream << text << std::flush;
    if (!stream) {
      fs::remove(part, failed);
      throw Error(path.string() + ": cannot be written; no permission, or the disk is full");
    }
  }
  fs::rename(part, path, failed);
  if (failed) throw Error(path.string() + ": cannot be written (" + failed.message() + ")");
}

void write_json(const fs::path& path, const Json& content) {
  write_text(path, json_text(content, 1) + "\n");
}

void write_image(const fs::path& path, const cv::Mat& image_rgb) {
  cv::Mat bgr;
  cv::cvtColor(image_rgb, bgr, cv::COLOR_RGB2BGR);
  std::string suffix = path.extension().string();
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::vector<int> options;
  if (suffix == ".jpg" || suffix == ".jpeg") options = {cv::IMWRITE_JPEG_QUALITY, kJpegQuality};
  std::vector<unsigned char> bytes;
  try {
    cv::imencode(suffix, bgr, bytes, options);
  } catch (const cv::Exception& error) {
    throw ImageError(path.string() + ": cannot be encoded (" + error.err + ")");
  }
  if (bytes.empty()) throw ImageError(path.string() + ": cannot be encoded");
  write_text(path, {bytes.begin(), bytes.end()});
}

}  // namespace ppdet::tool
