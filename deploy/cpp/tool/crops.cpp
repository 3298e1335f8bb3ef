#include <cmath>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

// Of a folder's name.
constexpr size_t kMostBytes = 100;

// A folder's name for a class: without letters that mean something in paths, not too long.
std::string folder_name(std::string name) {
  if (name.size() > kMostBytes) {
    size_t end = kMostBytes;  // the first byte of a letter
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
    name.resize(end);
  }
  for (char& c : name) {
    if (std::string("/\\:*?\"<>|").find(c) != std::string::npos || c == '\0') c = '_';
  }
  const size_t first = name.find_first_not_of(". ");
  if (first == std::string::npos) return "class";
  return name.substr(first, name.find_last_not_of(". ") + 1 - first);
}

int limited(float value, int most) {
  return static_cast<int>(std::min(std::max(value, 0.0F), static_cast<float>(most)));
}

}  // namespace

void save_crops(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
                const std::vector<std::string>& names, const Threshold& threshold,
                const fs::path& output_dir, const fs::path& stem) {
  const fs::path image = stem.lexically_relative(output_dir);
  int number = 0;
  for (const Box& box : confident(boxes, threshold)) {
    ++number;
    const cv::Point from(limited(std::floor(box.x1), image_rgb.cols),
                         limited(std::floor(box.y1), image_rgb.rows));
    const cv::Point to(limited(std::ceil(box.x2), image_rgb.cols),
                       limited(std::ceil(box.y2), image_rgb.rows));
    if (to.x <= from.x || to.y <= from.y) continue;
    const fs::path folder =
        output_dir / "crops" / folder_name(class_name(names, box.class_id)) / image.parent_path();
    write_image(folder / (image.filename().string() + "_" + std::to_string(number) + ".jpg"),
                image_rgb(cv::Rect(from, to)));
  }
}

}  // namespace ppdet::tool
