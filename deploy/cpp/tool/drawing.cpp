// Boxes in class colors with labels, drawn as ppdet_lite/utils/drawing.py does.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <opencv2/imgproc.hpp>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kLetterPixels = 22;  // height of capital letters at scale 1

struct Label {
  std::string text;
  double scale = 1;
  int thickness = 1, width = 0, height = 0, baseline = 0, pad = 0;
  int x = 0, y = 0;

  cv::Rect rect() const { return {x, y, width, height}; }
};

cv::Scalar class_color(int class_id) {
  constexpr double saturations[] = {0.95, 0.65, 0.85};
  constexpr double values[] = {1.0, 0.95, 0.72, 0.85};
  double turns = 0;
  const double hue = 6 * std::modf(0.02 + class_id * 0.618033988749895, &turns);
  const double saturation = saturations[class_id % 3];
  const double value = values[class_id % 4];
  const int sector = static_cast<int>(hue);
  const double part = hue - sector;
  const double low = value * (1 - saturation);
  const double falling = value * (1 - saturation * part);
  const double rising = value * (1 - saturation * (1 - part));
  const double rgb[6][3] = {{value, rising, low},  {falling, value, low}, {low, value, rising},
                            {low, falling, value}, {rising, low, value},  {value, low, falling}};
  cv::Scalar color;
  for (int i = 0; i < 3; ++i) color[i] = std::round(255 * rgb[sector % 6][i]);
  return color;
}

// Black or white, whichever stands out more: WCAG 2's luminance.
cv::Scalar text_color(const cv::Scalar& background) {
  constexpr double weights[] = {0.2126, 0.7152, 0.0722};
  double luminance = 0;
  for (int i = 0; i < 3; ++i) {
    const double c = background[i];
    luminance +=
        weights[i] * (c <= 10 ? c / 255 / 12.92 : std::pow((c / 255 + 0.055) / 1.055, 2.4));
  }
  return luminance > 0.179 ? cv::Scalar(0, 0, 0) : cv::Scalar(255, 255, 255);
}

// One length for the size of an image: the geometric mean of its sides, limited for strips.
double extent(const cv::Size& size) {
  return std::min(std::sqrt(static_cast<double>(size.area())),
                  2.0 * std::min(size.width, size.height));
}

int whole(double value) { return static_cast<int>(std::lrint(value)); }

Label measured(const std::string& text, double text_px) {
  Label label;
  label.text = text;
  label.scale = std::max(text_px / kLetterPixels, 0.05);
  label.thickness = std::max(1, whole(text_px / 11));
  const cv::Size size = cv::getTextSize(text, kFont, label.scale, label.thickness, &label.baseline);
  label.pad = std::max(1, whole(text_px / 6));
  label.width = size.width + 2 * label.pad;
  label.height = size.height + label.baseline + 2 * label.pad;
  return label;
}

// A label in the text size of the image; if too wide, in smaller letters, then cut short.
Label fitted(const cv::Size& size, std::string name, const std::string& score) {
  double text_px = std::min(std::max(8.0, extent(size) / 42), std::max(size.height / 2.5, 3.0));
  Label label = measured(name + " " + score, text_px);
  if (label.width > size.width) {
    text_px = std::max(text_px * size.width / label.width * 0.97, std::min(6.0, text_px));
    label = measured(name + " " + score, text_px);
  }
  while (label.width > size.width && !name.empty()) {
    name.pop_back();
    label = measured(name.empty() ? score : name + ". " + score, text_px);
  }
  if (label.width > size.width) label = measured(score, text_px * size.width / label.width * 0.9);
  return label;
}

Label placed(Label label, double x, double y, const cv::Size& size) {
  label.x = std::min(std::max(whole(x), 0), std::max(size.width - label.width, 0));
  label.y = std::min(std::max(whole(y), 0), std::max(size.height - label.height, 0));
  return label;
}

// Each label takes the first of its places that covers no earlier one.
Label best_place(const Label& label, const Box& box, const std::vector<Label>& others,
                 const cv::Size& size) {
  const double left = box.x1;
  const double above = static_cast<double>(box.y1) - label.height;
  const double right = static_cast<double>(box.x2) - label.width;
  std::vector<cv::Point2d> places = {{left, above},
                                     {left, box.y1},
                                     {left, box.y2},
                                     {left, static_cast<double>(box.y2) - label.height},
                                     {right, above}};
  if (above < 0) places.erase(places.begin());
  Label best;
  int least = -1;
  for (const auto& place : places) {
    const Label moved = placed(label, place.x, place.y, size);
    int covered = 0;
    for (const Label& other : others) covered += (moved.rect() & other.rect()).area();
    if (least < 0 || covered < least) {
      best = moved;
      least = covered;
    }
  }
  return best;
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

}  // namespace

cv::Mat drawn(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
              const std::vector<std::string>& names, const Threshold& threshold, int min_side) {
  const int side = std::max(image_rgb.rows, image_rgb.cols);
  const int factor = std::max((min_side + side - 1) / side, 1);
  cv::Mat canvas = image_rgb.clone();
  if (factor > 1) cv::resize(canvas, canvas, {}, factor, factor, cv::INTER_CUBIC);
  const cv::Size size = canvas.size();
  std::vector<Box> kept = confident(boxes, threshold);
  std::vector<Label> labels;
  for (Box& box : kept) {
    for (float* value : {&box.x1, &box.y1, &box.x2, &box.y2}) *value *= static_cast<float>(factor);
    std::string name = class_name(names, box.class_id);
    if (!is_ascii(name)) name = "class " + std::to_string(box.class_id);  // OpenCV 4 draws ASCII
    char score[16];
    std::snprintf(score, sizeof score, "%.2f", static_cast<double>(box.score));
    labels.push_back(best_place(fitted(size, name, score), box, labels, size));
  }
  const int width = std::max(1, whole(extent(size) / 320));
  for (size_t i = kept.size(); i-- > 0;) {  // the most confident is drawn last, on top
    const auto inside = [](double value, int most) {
      return std::clamp(whole(value), 0, most - 1);
    };
    cv::rectangle(canvas, {inside(kept[i].x1, size.width), inside(kept[i].y1, size.height)},
                  cv::Point{inside(kept[i].x2, size.width), inside(kept[i].y2, size.height)},
                  class_color(kept[i].class_id), width);
  }
  for (size_t i = kept.size(); i-- > 0;) {
    const Label& label = labels[i];
    const cv::Scalar color = class_color(kept[i].class_id);
    cv::rectangle(canvas, label.rect(), color, cv::FILLED);
    cv::putText(canvas, label.text,
                {label.x + label.pad, label.y + label.height - label.pad - label.baseline}, kFont,
                label.scale, text_color(color), label.thickness, cv::LINE_AA);
  }
  return canvas;
}

}  // namespace ppdet::tool
