#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

double rounded(double value, double unit) { return std::round(value * unit) / unit; }

std::vector<std::string> parts_of(const fs::path& path) {
  std::vector<std::string> parts;
  for (const auto& part : path.lexically_normal()) {
    if (part != "." && !part.empty()) parts.push_back(part.string());
  }
  return parts;
}

bool ends_with(const std::vector<std::string>& parts, const std::vector<std::string>& end) {
  return end.size() <= parts.size() && std::equal(end.rbegin(), end.rend(), parts.rbegin());
}

}  // namespace

std::string class_name(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<size_t>(class_id);
  return class_id >= 0 && index < names.size() ? names[index] : "class " + std::to_string(class_id);
}

std::vector<Box> confident(const std::vector<Box>& boxes, const Threshold& threshold) {
  std::vector<Box> kept;
  for (const Box& box : boxes) {
    const bool is_finite = std::isfinite(box.score) && std::isfinite(box.x1) &&
                           std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
    if (!is_finite || box.class_id < 0) continue;
    const double lowest =
        threshold[std::min(static_cast<size_t>(box.class_id), threshold.size() - 1)];
    if (static_cast<double>(box.score) >= lowest) kept.push_back(box);
  }
  return kept;
}

Json detection_records(const std::vector<Box>& boxes, const Detector& detector,
                       const Threshold& threshold) {
  Json records = Json::array();
  for (const Box& box : confident(boxes, threshold)) {
    records.push_back({{"class_id", box.class_id},
                       {"class_name", class_name(detector.class_names(), box.class_id)},
                       {"score", rounded(box.score, 1e6)},
                       {"box",
                        {rounded(box.x1, 1e3), rounded(box.y1, 1e3), rounded(box.x2, 1e3),
                         rounded(box.y2, 1e3)}}});
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
         {"file_name", file_name},
         {"category_id", category},
         {"bbox",
          {rounded(x, 1e3), rounded(y, 1e3), rounded(box.x2 - x, 1e3), rounded(box.y2 - y, 1e3)}},
         {"score", rounded(box.score, 1e6)}});
  }
}

void write_text(const fs::path& path, const std::string& text) {
  const fs::path part = path.string() + "." + std::to_string(getpid()) + ".part";
  std::error_code failed;
  fs::create_directories(fs::absolute(path).parent_path(), failed);
  {
    std::ofstream stream(part);
    stream << text << std::flush;
    if (!stream) {
      fs::remove(part, failed);
      throw Error(path.string() + ": cannot be written; no permission, or the disk is full");
    }
  }
  fs::rename(part, path, failed);
  if (failed) throw Error(path.string() + ": cannot be written (" + failed.message() + ")");
}

std::vector<std::int64_t> image_ids(const std::vector<fs::path>& images,
                                    const fs::path& annotations) {
  const std::string name = "--anno_path " + annotations.string();
  std::ifstream stream(annotations);
  if (!stream) throw Error(name + ": cannot be read");
  const auto content = nlohmann::json::parse(stream, nullptr, false);
  if (!content.is_object() || !content.contains("images") || !content["images"].is_array()) {
    throw Error(name + ": images: found no such list, allowed: COCO annotations");
  }
  std::map<std::vector<std::string>, std::int64_t> by_name;
  std::map<std::string, int> bases;
  std::int64_t largest = -1;
  for (const auto& image : content["images"]) {
    const auto id = image.is_object() ? image.value("id", nlohmann::json()) : nlohmann::json();
    const auto file = image.is_object() ? image.value("file_name", nlohmann::json()) : id;
    if (!id.is_number() || !file.is_string() || parts_of(file.get<std::string>()).empty()) {
      throw Error(name + ": images: found an entry without a number as id and a text as file_name");
    }
    const auto parts = parts_of(file.get<std::string>());
    by_name[parts] = id.get<std::int64_t>();
    ++bases[parts.back()];
    largest = std::max(largest, id.get<std::int64_t>());
  }
  std::map<std::string, int> given;
  for (const fs::path& image : images) ++given[image.filename().string()];
  std::map<std::int64_t, fs::path> owners;
  std::vector<std::int64_t> ids;
  size_t unknown = 0;
  for (const fs::path& image : images) {
    const auto parts = parts_of(fs::absolute(image));
    std::int64_t found = -1;
    size_t longest = 0;
    for (const auto& [end, id] : by_name) {
      const bool is_unique = given[parts.back()] == 1 && bases[end.back()] == 1;
      const bool matches = ends_with(parts, end);
      if (matches && end.size() > longest) {
        found = id;
        longest = end.size();
      } else if (longest == 0 && is_unique && end.back() == parts.back()) {
        found = id;
      }
    }
    if (found < 0) {
      found = ++largest;
      ++unknown;
    }
    if (const auto [owner, is_new] = owners.emplace(found, image); !is_new) {
      throw Error(name + ": image_id " + std::to_string(found) + ": found for " +
                  owner->second.string() + " and " + image.string() + ", allowed: one of them");
    }
    ids.push_back(found);
  }
  if (unknown == images.size()) {
    throw Error(name + ": found none of the " + std::to_string(images.size()) +
                " images, allowed: annotations of them");
  }
  return ids;
}

}  // namespace ppdet::tool
