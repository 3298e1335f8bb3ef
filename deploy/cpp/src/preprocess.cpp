#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <string>

#include "infer_config.hpp"

namespace ppdet {
namespace {

constexpr int kMostSide = 8192;
constexpr int kCubic = 2;
constexpr int kLanczos = 4;
using Size = std::array<int, 2>;

const int kInterpolations[] = {cv::INTER_NEAREST, cv::INTER_LINEAR, cv::INTER_CUBIC, cv::INTER_AREA,
                               cv::INTER_LANCZOS4};

// (height, width) after resizing; with `keep_ratio` the largest of the same shape inside the
// target.
Size resized_size(const Size& size, const ResizeStep& step) {
  if (!step.keep_ratio) return {step.height, step.width};
  const double scale = std::min(static_cast<double>(step.height) / size[0],
                                static_cast<double>(step.width) / size[1]);
  return {std::max(static_cast<int>(std::floor(scale * size[0] + 0.5)), 1),
          std::max(static_cast<int>(std::floor(scale * size[1] + 0.5)), 1)};
}

std::string shown(const Size& size) {
  return "[" + std::to_string(size[0]) + ", " + std::to_string(size[1]) + "]";
}

// (height, width) inside the canvas, and the factor that both sides are meant to have been
// multiplied by.
std::pair<Size, double> letterbox_size(const Size& size, const LetterboxStep& step) {
  const double ratio = std::min(static_cast<double>(step.height) / size[0],
                                static_cast<double>(step.width) / size[1]);
  return {{std::max(static_cast<int>(size[0] * ratio), 1),
           std::max(static_cast<int>(size[1] * ratio), 1)},
          ratio};
}

// `image` in the top-left corner of a canvas.
cv::Mat padded(const cv::Mat& image, int height, int width, const std::array<double, 3>& fill) {
  cv::Mat canvas;
  cv::copyMakeBorder(image, canvas, 0, height - image.rows, 0, width - image.cols,
                     cv::BORDER_CONSTANT, {fill[0], fill[1], fill[2]});
  return canvas;
}

// The size that a step asks for; none of a step that keeps the size.
std::optional<Size> target_of(const Step& step) {
  if (const auto* resize = std::get_if<ResizeStep>(&step))
    return Size{resize->height, resize->width};
  if (const auto* pad = std::get_if<PadStep>(&step)) return Size{pad->height, pad->width};
  if (const auto* box = std::get_if<LetterboxStep>(&step)) return Size{box->height, box->width};
  return std::nullopt;
}

// The key of the size, as errors name it.
std::string key_of(const Step& step) {
  if (std::holds_alternative<ResizeStep>(step)) return "Resize.target_size";
  return std::holds_alternative<PadStep>(step) ? "Pad.size" : "CornerLetterbox.target_size";
}

// cv::resize, in less time where the width stays as it is: four RGB pixels may be read as three of
// four channels.
cv::Mat resized_by_opencv(const cv::Mat& image, int height, int width, int interpolation) {
  cv::Mat result;
  if (image.depth() == CV_8U && std::min(image.rows, image.cols) >= 32 && image.cols == width &&
      width % 4 == 0 && image.isContinuous()) {
    const int count = width * 3 / 4;
    const cv::Mat source(image.rows, count, CV_8UC4, image.data);
    cv::resize(source, result, {count, height}, 0, 0, interpolation);
    return cv::Mat(height, width, CV_8UC3, result.data).clone();
  }
  cv::resize(image, result, {width, height}, 0, 0, interpolation);
  return result;
}

void normalize(const NormalizeStep& step, const cv::Mat& image, cv::Mat& planes) {
  planes.create(3 * image.rows, image.cols, CV_32F);
  std::vector<cv::Mat> channels;
  cv::split(image, channels);
  for (int c = 0; c < 3; ++c) {
    const auto channel = static_cast<size_t>(c);
    const auto level = [&](double value) {
      return (value / (step.is_scale ? 255.0 : 1.0) - step.mean[channel]) / step.std[channel];
    };
    cv::Mat out = planes.rowRange(c * image.rows, (c + 1) * image.rows);
    double low = 0;
    double high = 0;
    cv::minMaxLoc(channels[channel], &low, &high);
    if (low == high) {
      out.setTo(level(low));
    } else if (level(low) < level(high)) {  // an even map, as a look-up table would give
      cv::normalize(channels[channel], out, level(low), level(high), cv::NORM_MINMAX, CV_32F);
    } else {  // a negative std: normalize sorts its two numbers
      std::array<float, 256> levels{};
      for (size_t i = 0; i < levels.size(); ++i) {
        levels[i] = static_cast<float>(level(static_cast<double>(i)));
      }
      cv::LUT(channels[channel], cv::Mat(1, 256, CV_32F, levels.data()), out);
    }
  }
}

}  // namespace

cv::Mat resized(const cv::Mat& image, int height, int width, int interp) {
  if (image.rows == height && image.cols == width) return image;
  if (interp != kCubic && interp != kLanczos) {
    return resized_by_opencv(image, height, width, kInterpolations[interp]);
  }
  // In float32, as OpenCV's fixed-point numbers differ by a level in 2 of 100 values from those of
  // the wheel for Python, whose cubic interpolation is Intel's.
  cv::Mat floats;
  cv::Mat wide;
  cv::Mat result;
  image.convertTo(floats, CV_32F);
  cv::resize(floats, wide, {width, height}, 0, 0, kInterpolations[interp]);
  cv::threshold(wide, wide, 0, 0, cv::THRESH_TOZERO);
  cv::convertScaleAbs(wide, result);
  return result;
}

std::optional<Size> output_size(const std::vector<Step>& steps) {
  std::optional<Size> size;
  for (const Step& step : steps) {
    const auto* resize = std::get_if<ResizeStep>(&step);
    if (resize != nullptr && resize->keep_ratio) {
      if (size) size = resized_size(*size, *resize);
    } else if (const auto target = target_of(step)) {
      size = target;
    }
  }
  return size;
}

void check_size(const std::vector<Step>& steps, const std::optional<Size>& input_hw) {
  std::string last = "Preprocess.Resize: found none";
  bool has_step = false;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto target = target_of(steps[i]);
    if (!target) continue;
    has_step = true;
    const auto* behind = i + 1 < steps.size() ? std::get_if<PadStep>(&steps[i + 1]) : nullptr;
    const Size limit = {std::min(behind != nullptr ? behind->height : kMostSide, kMostSide),
                        std::min(behind != nullptr ? behind->width : kMostSide, kMostSide)};
    last = "Preprocess." + key_of(steps[i]) + ": found " + shown(*target);
    if ((*target)[0] > limit[0] || (*target)[1] > limit[1]) {
      throw Error(last + ", allowed: at most " + shown(limit) +
                  (behind != nullptr ? ", the size of the Pad behind it" : ""));
    }
  }
  const auto size = output_size(steps);
  std::string allowed;
  if (!input_hw) {
    if (!has_step || (size && (*size)[0] % kStride == 0 && (*size)[1] % kStride == 0)) return;
    allowed = "multiples of " + std::to_string(kStride) + ", the network's largest stride";
  } else {
    if (size == input_hw) return;
    allowed = shown(*input_hw) +
              ", the size of the graph's input; for another size export the model again";
  }
  if (has_step && !size) last = "Preprocess.Resize.keep_ratio: found true without Pad";
  throw Error(last + ", allowed: " + allowed);
}

Sample prepared(const std::vector<Step>& steps, const cv::Mat& image) {
  if (image.empty() || image.type() != CV_8UC3) {
    throw ImageError("an image: found another type or no pixels, allowed: RGB, CV_8UC3");
  }
  Sample sample;
  cv::Mat pixels = image;
  double scale_y = 1;
  double scale_x = 1;
  Size im_shape = {image.rows, image.cols};
  NormalizeStep normalizer{{0, 0, 0}, {1, 1, 1}, false};
  for (const Step& step : steps) {
    if (const auto* pad = std::get_if<PadStep>(&step)) {
      if (pixels.rows > pad->height || pixels.cols > pad->width) {
        throw ImageError("Preprocess.Pad.size: found " + shown({pad->height, pad->width}) +
                         ", allowed for this image: at least " + shown({pixels.rows, pixels.cols}));
      }
      pixels = padded(pixels, pad->height, pad->width, pad->fill);
    } else if (const auto* box = std::get_if<LetterboxStep>(&step)) {
      const auto [size, ratio] = letterbox_size({pixels.rows, pixels.cols}, *box);
      pixels = padded(resized(pixels, size[0], size[1], 1), box->height, box->width, box->fill);
      scale_y *= ratio;
      scale_x *= ratio;
      im_shape = size;
    } else if (std::holds_alternative<ToBgrStep>(step)) {
      cv::cvtColor(pixels, pixels, cv::COLOR_RGB2BGR);
    } else if (const auto* resize = std::get_if<ResizeStep>(&step)) {
      const Size size = resized_size({pixels.rows, pixels.cols}, *resize);
      scale_y *= static_cast<double>(size[0]) / pixels.rows;
      scale_x *= static_cast<double>(size[1]) / pixels.cols;
      pixels = resized(pixels, size[0], size[1], resize->interp);
      im_shape = size;
    } else if (const auto* normalize_step = std::get_if<NormalizeStep>(&step)) {
      normalizer = *normalize_step;
    }
  }
  normalize(normalizer, pixels, sample.planes);
  sample.height = pixels.rows;
  sample.width = pixels.cols;
  sample.im_shape[0] = static_cast<float>(im_shape[0]);
  sample.im_shape[1] = static_cast<float>(im_shape[1]);
  sample.scale_factor[0] = static_cast<float>(scale_y);
  sample.scale_factor[1] = static_cast<float>(scale_x);
  return sample;
}

}  // namespace ppdet
