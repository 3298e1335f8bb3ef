#include <cmath>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

// A folder's name for a class: without letters that mean something in paths.
std::string folder_name(std::string name) {
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
  std::string image;
  for (const fs::path& part : stem.lexically_relative(output_dir)) {
    image += (image.empty() ? "" : "_") + part.string();
  }
  int number = 0;
  for (const Box& box : confident(boxes, threshold)) {
    ++number;
    const cv::Point from(limited(std::floor(box.x1), image_rgb.cols),
                         limited(std::floor(box.y1), image_rgb.rows));
    const cv::Point to(limited(std::ceil(box.x2), image_rgb.cols),
                       limited(std::ceil(box.y2), image_rgb.rows));
    if (to.x <= from.x || to.y <= from.y) continue;
    const std::string name = image + "_" + std::to_string(number) + ".jpg";
    write_image(output_dir / "crops" / folder_name(class_name(names, box.class_id)) / name,
                image_rgb(cv::Rect(from, to)));
  }
}

}  // namespace ppdet::tool
