// Image files to pixels, with the checks of ppdet_lite/data/pixels: OpenCV alone fills a JPEG that
// is cut short with gray, decodes images of any size and does not turn WebP images.
#include <fstream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "image_header.hpp"
#include "ppdet/detector.hpp"

namespace ppdet {
namespace {

constexpr double kMostImagePixels = 178956970;  // about 0.5 GB as RGB

Bytes content_of(const std::filesystem::path& path) {
  std::error_code failed;
  const bool is_file = std::filesystem::is_regular_file(path, failed);
  std::ifstream stream(path, std::ios::binary);
  if (!is_file || !stream) {
    const bool is_folder = std::filesystem::is_directory(path, failed);
    throw ImageError(path.string() + ": cannot be read (" +
                     (is_folder ? "it is a folder" : "no such file, or no permission") + ")");
  }
  Bytes bytes(std::filesystem::file_size(path));
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (bytes.empty()) throw ImageError(path.string() + ": the file is empty");
  return bytes;
}

cv::Mat decode(const Bytes& bytes, const std::string& name) {
  cv::Mat image;
  try {
    image = cv::imdecode(bytes, cv::IMREAD_COLOR);
  } catch (const cv::Exception& error) {
    throw ImageError(name + ": cannot be decoded (" + error.err + ")");
  }
  if (image.empty()) throw ImageError(name + ": not an image, or damaged");
  return image;
}

// Where pixels are missing at the end of a JPEG, they depend on what follows the file.
void refuse_missing_pixels(Bytes bytes, const cv::Mat& image, const std::string& name) {
  constexpr int kNoise = 680;
  while (!bytes.empty() && bytes.back() == 0xFF) bytes.pop_back();
  for (const bool rises : {true, false}) {
    Bytes noisy = bytes;
    for (int i = 0; i < kNoise; ++i) {
      noisy.push_back(static_cast<unsigned char>(rises ? 85 + i % 170 : 254 - 3 * i % 252));
    }
    noisy.insert(noisy.end(), {0xFF, 0xD9});
    if (cv::norm(image, decode(noisy, name), cv::NORM_INF) != 0) {
      throw ImageError(name + ": the JPEG is cut short (pixels and end marker are missing)");
    }
  }
}

cv::Mat upright(const cv::Mat& image, int orientation) {
  cv::Mat result = image;
  if (orientation >= 5 && orientation <= 8) cv::transpose(image, result);
  switch (orientation) {
    case 2:
    case 6:
      cv::flip(result, result, 1);
      break;
    case 3:
    case 7:
      cv::flip(result, result, -1);
      break;
    case 4:
    case 8:
      cv::flip(result, result, 0);
      break;
    default:
      break;
  }
  return result;
}

}  // namespace

cv::Mat read_image(const std::filesystem::path& path) {
  const std::string name = path.string();
  Bytes bytes = content_of(path);
  const ImageHeader header = read_header(bytes, name);
  if (header.pixels > kMostImagePixels) {
    throw ImageError(name + ": more than the limit of 178956970 pixels");
  }
  Bytes ended = bytes;
  if (header.is_jpeg)
    ended.insert(ended.end(), {0xFF, 0xD9});  // one that is missing is no reason to stop
  cv::Mat image = decode(ended, name);
  if (header.is_cut) refuse_missing_pixels(bytes, image, name);
  image = upright(image, header.orientation);
  cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
  return image;
}

}  // namespace ppdet
