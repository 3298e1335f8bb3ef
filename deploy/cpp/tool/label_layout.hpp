// Places of labels on an image, so that they hide neither each other nor small objects, as
// ppdet_lite/utils/label_layout.py chooses them.
#pragma once

#include <algorithm>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

namespace ppdet::tool {

struct Corners {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;

  double area() const { return std::max(x2 - x1, 0.0) * std::max(y2 - y1, 0.0); }
};

// A name and what follows it, as a score.
struct Named {
  std::string name, end;

  std::string text() const { return name + (name.empty() || end.empty() ? "" : " ") + end; }
};

// A text with its box in pixels; `baseline` is the room below the text's base line.
struct Label {
  std::string text;
  double text_px = 0;  // height of capital letters
  int width = 0, height = 0, baseline = 0, pad = 0;
  int x = 0, y = 0;

  Corners corners() const {
    return {static_cast<double>(x), static_cast<double>(y), static_cast<double>(x + width),
            static_cast<double>(y + height)};
  }
  cv::Point base() const { return {x + pad, y + height - pad - baseline}; }
};

int whole(double value);

// Width and height in pixels; `baseline` becomes what lies below the base line.
cv::Size text_size(const std::string& text, double text_px, int& baseline);
void put_text(cv::Mat& canvas, const std::string& text, const cv::Point& base, double text_px,
              const cv::Scalar& color);

// One length for the size of an image: the geometric mean of its sides, limited for strips.
double extent(const cv::Size& size);

// A label not wider than `most_width`: if need be in smaller letters, then cut short.
Label fitted(int most_width, const Named& text, double text_px);

// A label for each box, the first of which have the choice; none where it would hide an object and
// its class has a label elsewhere.
std::vector<std::optional<Label>> place_labels(const cv::Size& size,
                                               const std::vector<Corners>& boxes,
                                               const std::vector<int>& classes,
                                               const std::vector<Named>& texts);

}  // namespace ppdet::tool
