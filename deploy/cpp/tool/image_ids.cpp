// Image ids of COCO annotations, by the names of their files.
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

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
