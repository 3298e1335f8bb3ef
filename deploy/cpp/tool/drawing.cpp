// Boxes in class colors with labels, drawn as ppdet_lite/utils/drawing.py does.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <opencv2/imgproc.hpp>

#include "label_layout.hpp"
#include "tool.hpp"

namespace ppdet::tool {
namespace {

const cv::Scalar kPanel(255, 255, 255);
const cv::Scalar kInk(31, 39, 51);

// Of a label's name; what is longer ends in three points.
constexpr size_t kMostLetters = 40;

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

// Width of the lines of boxes; thinner for one whose shorter side is small.
int line_width(const cv::Size& size, const Corners& box) {
  const double side = std::min(box.x2 - box.x1, box.y2 - box.y1);
  return std::min(std::max(1, whole(extent(size) / 320)), std::max(1, whole(side / 16)));
}

void draw_box(cv::Mat& canvas, const Corners& box, int class_id) {
  const auto inside = [](double value, int most) { return std::clamp(whole(value), 0, most - 1); };
  cv::rectangle(canvas, {inside(box.x1, canvas.cols), inside(box.y1, canvas.rows)},
                cv::Point{inside(box.x2, canvas.cols), inside(box.y2, canvas.rows)},
                class_color(class_id), line_width(canvas.size(), box));
}

void draw_label(cv::Mat& canvas, const Label& label, int class_id) {
  const cv::Scalar color = class_color(class_id);
  cv::rectangle(canvas, cv::Rect(label.x, label.y, label.width, label.height), color, cv::FILLED);
  put_text(canvas, label.text, label.base(), label.text_px, text_color(color));
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

Named text_of(const Box& box, const std::vector<std::string>& names, const DrawStyle& style) {
  std::string name = class_name(names, box.class_id);
  if (!is_ascii(name)) name = "class " + std::to_string(box.class_id);  // OpenCV 4 draws ASCII
  if (name.size() > kMostLetters) name = name.substr(0, kMostLetters - 3) + "...";
  std::array<char, 16> score{};
  std::snprintf(score.data(), score.size(), "%.2f", static_cast<double>(box.score));
  return {name, style.scores ? score.data() : ""};
}

// The image with a list "3 person 0.87" at its right, in as many columns as needed.
cv::Mat with_list(const cv::Mat& canvas, const std::vector<Named>& texts,
                  const std::vector<int>& classes) {
  constexpr int kAnyWidth = 1000000;
  const double text_px = std::max(8.0, extent(canvas.size()) / 48);
  const int line = std::max(whole(text_px * 2.1), 1);
  const int in_column = std::max(canvas.rows / line, 1);
  const int count = static_cast<int>(texts.size());
  const int gap = std::max(whole(text_px), 2);
  std::vector<Label> marks;
  int mark = 0;
  int longest = 0;
  for (int i = 0; i < count; ++i) {
    int baseline = 0;
    marks.push_back(fitted(kAnyWidth, {"", std::to_string(i + 1)}, text_px));
    mark = std::max(mark, marks.back().width);
    const std::string text = texts[static_cast<size_t>(i)].text();
    longest = std::max(longest, text_size(text, text_px, baseline).width);
  }
  const int column = mark + whole(text_px) + longest;
  const int columns = (count + in_column - 1) / in_column;
  cv::Mat panel(canvas.rows, columns * (column + gap) + gap, CV_8UC3, kPanel);
  for (int i = 0; i < count; ++i) {
    const auto place = static_cast<size_t>(i);
    Label& label = marks[place];
    label.x = gap + i / in_column * (column + gap);
    label.y = i % in_column * line + 2;
    draw_label(panel, label, classes[place]);
    put_text(panel, texts[place].text(), {label.x + mark + gap / 2, label.base().y}, text_px, kInk);
  }
  cv::Mat both;
  cv::hconcat(canvas, panel, both);
  return both;
}

}  // namespace

cv::Mat drawn(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
              const std::vector<std::string>& names, const Threshold& threshold,
              const DrawStyle& style, int min_side) {
  const int side = std::max(image_rgb.rows, image_rgb.cols);
  const int factor = std::max((min_side + side - 1) / side, 1);
  cv::Mat canvas = image_rgb.clone();
  if (factor > 1) cv::resize(canvas, canvas, {}, factor, factor, cv::INTER_CUBIC);
  std::vector<Corners> corners;
  std::vector<int> classes;
  std::vector<Named> texts;
  for (const Box& box : confident(boxes, threshold)) {
    const double scale = factor;
    corners.push_back({scale * box.x1, scale * box.y1, scale * box.x2, scale * box.y2});
    classes.push_back(box.class_id);
    texts.push_back(text_of(box, names, style));
  }
  // Small boxes are drawn last, on top; all boxes before all labels, so no line crosses a text.
  std::vector<size_t> order(corners.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return corners[a].area() > corners[b].area(); });
  for (const size_t row : order) draw_box(canvas, corners[row], classes[row]);
  if (!style.labels) return canvas;
  std::vector<Named> beside = texts;
  if (style.numbers) {
    for (size_t i = 0; i < beside.size(); ++i) beside[i] = {"", std::to_string(i + 1)};
  }
  const auto labels = place_labels(canvas.size(), corners, classes, beside);
  for (size_t i = labels.size(); i-- > 0;) {  // the most confident is drawn last, on top
    if (labels[i]) draw_label(canvas, *labels[i], classes[i]);
  }
  return style.numbers && !texts.empty() ? with_list(canvas, texts, classes) : canvas;
}

}  // namespace ppdet::tool
