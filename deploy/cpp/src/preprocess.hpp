// From an image to the network's input: the steps of infer_cfg.yml, equal to those of
// ppdet_lite/data/pixels/image_ops.py.
#pragma once

#include <array>
#include <opencv2/core.hpp>
#include <optional>
#include <variant>
#include <vector>

#include "ppdet/detector.hpp"

namespace ppdet {

struct ResizeStep {
  int height = 0, width = 0;
  bool keep_ratio = true;
  int interp = 1;  // 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos
};

struct PadStep {
  int height = 0, width = 0;
  std::array<double, 3> fill = {114, 114, 114};
};

// The largest image of the same shape inside a canvas of one color, as YOLOX's authors compute it.
struct LetterboxStep {
  int height = 0, width = 0;
  std::array<double, 3> fill = {114, 114, 114};
};

struct ToBgrStep {};

struct NormalizeStep {
  std::array<double, 3> mean = {0.485, 0.456, 0.406}, std = {0.229, 0.224, 0.225};
  bool is_scale = true;
};

struct PermuteStep {};

using Step =
    std::variant<ResizeStep, PadStep, LetterboxStep, ToBgrStep, NormalizeStep, PermuteStep>;

// (height, width) of every result; none where it follows the shape of the image.
std::optional<std::array<int, 2>> output_size(const std::vector<Step>& steps);

// Throws Error, by key, for sizes that the graph does not take: another than `input_hw`, or sides
// that are no multiples of the stride where it takes any.
void check_size(const std::vector<Step>& steps, const std::optional<std::array<int, 2>>& input_hw);

// RGB, CV_8UC3 -> the network's inputs.
Sample prepared(const std::vector<Step>& steps, const cv::Mat& image);

// cv::resize as ppdet_lite/data/pixels/resampling.py calls it.
cv::Mat resized(const cv::Mat& image, int height, int width, int interp);

}  // namespace ppdet
