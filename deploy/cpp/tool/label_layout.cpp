#include "label_layout.hpp"

#include <cmath>
#include <limits>
#include <opencv2/imgproc.hpp>
#include <set>

namespace ppdet::tool {
namespace {

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kLetterPixels = 22;  // height of capital letters at scale 1
constexpr double kMostHidden = 0.25;  // of another object; its text is made shorter before
constexpr double kLeastTextPx = 8;
constexpr double kLeastShrunkTextPx = 6;
constexpr double kCrowd = 12;  // with more objects the text becomes smaller

double scale_of(double text_px) { return std::max(text_px / kLetterPixels, 0.05); }
int thickness_of(double text_px) { return std::max(1, whole(text_px / 11)); }

Label measured(const std::string& text, double text_px) {
  Label label;
  label.text = text;
  label.text_px = text_px;
  const cv::Size size = text_size(text, text_px, label.baseline);
  label.pad = std::max(1, whole(text_px / 6));
  label.width = size.width + 2 * label.pad;
  label.height = size.height + label.baseline + 2 * label.pad;
  return label;
}

// Height of the letters: by the size of the image, smaller on small boxes and in crowds.
double text_px_of(const cv::Size& image, const Corners& box, size_t count) {
  const double size = extent(image);
  const double side = std::sqrt(std::max((box.x2 - box.x1) * (box.y2 - box.y1), 1.0));
  const double of_box = std::clamp(std::sqrt(side / (0.12 * size)), 0.65, 1.0);
  const double many = static_cast<double>(std::max<size_t>(count, 1));
  const double of_crowd = std::clamp(std::pow(kCrowd / many, 0.25), 0.75, 1.0);
  return std::min(std::max(kLeastTextPx, size / 42 * of_box * of_crowd),
                  std::max(image.height / 2.5, 3.0));
}

// The label at a place, moved so that it lies inside the image.
Label inside(Label label, const cv::Point2d& place, const cv::Size& image) {
  label.x = std::min(std::max(whole(place.x), 0), std::max(image.width - label.width, 0));
  label.y = std::min(std::max(whole(place.y), 0), std::max(image.height - label.height, 0));
  return label;
}

// Top left corners that a label may take, best first.
std::vector<cv::Point2d> places(const Label& label, const Corners& box) {
  const double left = box.x1 - label.width;
  const double right = box.x2 - label.width;
  const double above = box.y1 - label.height;
  const double low = box.y2 - label.height;
  std::vector<cv::Point2d> all = {
      {box.x1, above}, {box.x1, box.y1}, {box.x1, box.y2}, {box.x2, box.y1}, {left, box.y1},
      {right, above},  {box.x2, low},    {left, low},      {box.x1, low},    {right, box.y2}};
  if (above < 0) all.erase(all.begin());
  return all;
}

// Share of another box that a box covers.
double hidden_share(const Corners& box, const Corners& other) {
  const Corners both = {std::max(box.x1, other.x1), std::max(box.y1, other.y1),
                        std::min(box.x2, other.x2), std::min(box.y2, other.y2)};
  return both.area() / std::max(other.area(), 1.0);
}

struct Placed {
  Label label;
  double hidden = 0;  // the largest share of an object or label
};

Placed best(const Label& label, size_t row, const std::vector<Corners>& boxes,
            const std::vector<Label>& taken, const cv::Size& image) {
  Placed found;
  double least = std::numeric_limits<double>::infinity();
  double order = 0;
  for (const cv::Point2d& place : places(label, boxes[row])) {
    const Label moved = inside(label, place, image);
    const Corners box = moved.corners();
    double most = 0;
    double of_boxes = 0;
    double of_labels = 0;
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (i == row) continue;
      const double share = hidden_share(box, boxes[i]);
      of_boxes += share;
      most = std::max(most, share);
    }
    for (const Label& other : taken) {
      const double share = hidden_share(box, other.corners());
      of_labels += share;
      most = std::max(most, share);
    }
    // A box that it lies in loses little; many boxes of which it hides a bit count together.
    const double cost =
        of_boxes + of_labels + of_labels + hidden_share(box, boxes[row]) + 0.01 * order;
    if (cost < least) {
      least = cost;
      found = {moved, most};
    }
    ++order;
  }
  return found;
}

}  // namespace

int whole(double value) { return static_cast<int>(std::lrint(std::clamp(value, -1e9, 1e9))); }

cv::Size text_size(const std::string& text, double text_px, int& baseline) {
  return cv::getTextSize(text, kFont, scale_of(text_px), thickness_of(text_px), &baseline);
}

void put_text(cv::Mat& canvas, const std::string& text, const cv::Point& base, double text_px,
              const cv::Scalar& color) {
  cv::putText(canvas, text, base, kFont, scale_of(text_px), color, thickness_of(text_px),
              cv::LINE_AA);
}

double extent(const cv::Size& size) {
  return std::min(std::sqrt(static_cast<double>(size.width) * size.height),
                  2.0 * std::min(size.width, size.height));
}

Label fitted(int most_width, const Named& text, double text_px) {
  Label label = measured(text.text(), text_px);
  if (label.width > most_width) {
    text_px =
        std::max(text_px * most_width / label.width * 0.97, std::min(kLeastShrunkTextPx, text_px));
    label = measured(text.text(), text_px);
  }
  for (std::string name = text.name; label.width > most_width && !name.empty();) {
    name.pop_back();
    const Named shorter = {name.empty() ? "" : name + ".", text.end};
    label = measured(shorter.text(), text_px);
  }
  if (label.width > most_width) {
    label = measured(text.end, text_px * most_width / label.width * 0.9);
  }
  return label;
}

std::vector<std::optional<Label>> place_labels(const cv::Size& size,
                                               const std::vector<Corners>& boxes,
                                               const std::vector<int>& classes,
                                               const std::vector<Named>& texts) {
  std::vector<std::optional<Label>> labels;
  std::vector<Label> taken;
  std::set<int> shown;
  for (size_t row = 0; row < boxes.size(); ++row) {
    const Named& text = texts[row];
    const double text_px = text_px_of(size, boxes[row], texts.size());
    Placed found = best(fitted(size.width, text, text_px), row, boxes, taken, size);
    if (found.hidden > kMostHidden && !text.end.empty() && !text.name.empty()) {
      found = best(fitted(size.width, {text.name, ""}, text_px), row, boxes, taken, size);
    }
    if (found.hidden > kMostHidden && shown.count(classes[row]) > 0) {
      labels.emplace_back();
      continue;
    }
    shown.insert(classes[row]);
    labels.emplace_back(found.label);
    taken.push_back(found.label);
  }
  return labels;
}

}  // namespace ppdet::tool
