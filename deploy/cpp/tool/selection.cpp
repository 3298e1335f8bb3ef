#include <algorithm>
#include <cmath>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr size_t kShownNames = 10;

Threshold threshold_of(const Arguments& arguments, const Detector& detector) {
  if (arguments.threshold.empty()) return {detector.threshold()};
  if (arguments.threshold != "auto") return {std::stod(arguments.threshold)};
  if (!detector.thresholds() || detector.thresholds()->empty()) {
    throw Error("--threshold: found auto, but " + (arguments.model_dir / "infer_cfg.yml").string() +
                " has no thresholds; allowed: 0 to 1, or an export of weights of a training with "
                "evaluations");
  }
  return *detector.thresholds();
}

// The class that a name or a number from 0 means. Throws Error for neither.
int class_id_of(const std::string& text, const std::vector<std::string>& names) {
  const auto name = std::find(names.begin(), names.end(), text);
  if (name != names.end()) return static_cast<int>(name - names.begin());
  constexpr size_t kMostDigits = 9;
  const bool is_number = !text.empty() && text.size() <= kMostDigits &&
                         text.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && std::stoul(text) < names.size()) return std::stoi(text);
  std::string allowed;
  for (size_t i = 0; i < std::min(names.size(), kShownNames); ++i) {
    allowed += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kShownNames) allowed += ", ...";
  throw Error("--classes: found " + text + ", allowed: " + allowed + nearest_hint(text, names));
}

}  // namespace

Selection selection_of(const Arguments& arguments, const Detector& detector) {
  Selection selection{threshold_of(arguments, detector), {}};
  for (const std::string& text : arguments.classes) {
    selection.class_ids.push_back(class_id_of(text, detector.class_names()));
  }
  return selection;
}

std::vector<Box> of_classes(const std::vector<Box>& boxes, const std::vector<int>& class_ids) {
  if (class_ids.empty()) return boxes;
  std::vector<Box> kept;
  std::copy_if(boxes.begin(), boxes.end(), std::back_inserter(kept), [&](const Box& box) {
    return std::find(class_ids.begin(), class_ids.end(), box.class_id) != class_ids.end();
  });
  return kept;
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

std::string class_name(const std::vector<std::string>& names, int class_id) {
  const auto index = static_cast<size_t>(class_id);
  return class_id >= 0 && index < names.size() ? names[index] : "class " + std::to_string(class_id);
}

}  // namespace ppdet::tool
