#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

// The nearest decimal number, as Python's round gives it.
double rounded(double value, int digits) {
  std::array<char, 512> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return std::strtod(text.data(), nullptr);
}

}  // namespace

Json detection_records(const std::vector<Box>& boxes, const Detector& detector,
                       const Threshold& threshold) {
  Json records = Json::array();
  for (const Box& box : confident(boxes, threshold)) {
    records.push_back(
        {{"class_id", box.class_id},
         {"class_name", utf8(class_name(detector.class_names(), box.class_id))},
         {"score", rounded(box.score, 6)},
         {"box",
          {rounded(box.x1, 3), rounded(box.y1, 3), rounded(box.x2, 3), rounded(box.y2, 3)}}});
  }
  return records;
}

void add_coco_records(Json& records, const std::vector<Box>& boxes, std::int64_t image_id,
                      const std::string& file_name, const Detector& detector) {
  for (const Box& box : confident(boxes, {0.0})) {
    std::int64_t category = box.class_id;
    if (const auto& ids = detector.category_ids()) {
      if (static_cast<size_t>(box.class_id) >= ids->size()) {
        throw Error("category_ids: " + std::to_string(ids->size()) +
                    " entries, but the network found class " + std::to_string(box.class_id));
      }
      category = (*ids)[static_cast<size_t>(box.class_id)];
    }
    const double x = box.x1;
    const double y = box.y1;
    records.push_back(
        {{"image_id", image_id},
         {"file_name", utf8(file_name)},
         {"category_id", category},
         {"bbox", {rounded(x, 3), rounded(y, 3), rounded(box.x2 - x, 3), rounded(box.y2 - y, 3)}},
         {"score", rounded(box.score, 6)}});
  }
}

}  // namespace ppdet::tool
