// Exported models of ppdet_lite in C++: images in, boxes out.
//
//   ppdet::Detector detector("output_inference/ppyolov2_r50vd_dcn_365e_coco");
//   const auto found = detector.predict({ppdet::read_image("demo.jpg")});
//   for (const ppdet::Box& box : found[0]) ...
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace ppdet {

// A file, a setting or a device that cannot be used; the text is one line that names it.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An image that cannot be read or does not fit; others of the same run may.
class ImageError : public Error {
 public:
  using Error::Error;
};

// One detection: corners in pixels of the image that was given.
struct Box {
  int class_id;
  float score, x1, y1, x2, y2;
};

struct Options {
  std::string engine = "paddle";  // or "openvino", which reads the .onnx; those that were built in
  // or, with engine openvino, "fp16", the .onnx of ppdet export --precision fp16, and "int8", the
  // file of ppdet quantize
  std::string precision = "fp32";
  std::string device = "CPU";       // or "GPU", for Paddle
  std::string run_mode = "paddle";  // or "trt_fp32", "trt_fp16", "trt_int8", with device GPU
  int threads = 0;                  // of the CPU; 0: one per core, at most 8
  int batch_size = 1;  // the largest number of images at once; TensorRT's engine is built for it
  bool onednn = true;  // Paddle's kernels for CPUs
  bool onednn_bfloat16 =
      false;                    // computing in bfloat16; float32 on CPUs that cannot, see remarks()
  std::vector<int> input_size;  // {height, width} or {side}, for exports that leave it open
  std::filesystem::path cache_dir;  // of TensorRT's engines; empty: trt_cache in the model's folder
  std::array<int, 3> trt_sides = {320, 640,
                                  1280};  // smallest, usual and largest side of open sizes
  std::filesystem::path calib_dir;        // images for trt_int8, until its table is in the cache
};

// The engines that this library was built with.
std::vector<std::string> engines();

// Reads an image file as RGB, CV_8UC3, turned upright as its EXIF data says.
// Throws ImageError for a file that is missing, damaged, cut short, too large or not an image.
cv::Mat read_image(const std::filesystem::path& path);

// A network's inputs for one image, made by `Detector::preprocess`.
struct Sample {
  cv::Mat planes;              // CV_32F, 3 * height rows: the channels one below the other
  int height = 0, width = 0;   // of the network's input
  float im_shape[2] = {};      // height and width of the resized image, before padding
  float scale_factor[2] = {};  // resized / original, y and x
};

// An exported detector. Threads may share it; their calls take turns at the engine.
class Detector {
 public:
  // Throws Error for files, settings, engines and devices that cannot be used.
  explicit Detector(const std::filesystem::path& folder, const Options& options = {});
  ~Detector();
  Detector(Detector&&) noexcept;
  Detector& operator=(Detector&&) noexcept;

  // The boxes of each image, the highest score first. Images are RGB, CV_8UC3, of any size, and run
  // as one batch.
  std::vector<std::vector<Box>> predict(const std::vector<cv::Mat>& images);

  // The two halves of `predict`, for pipelines and measurements.
  Sample preprocess(const cv::Mat& image) const;
  std::vector<std::vector<Box>> run(const std::vector<Sample>& samples);

  const std::vector<std::string>& class_names() const;
  const std::optional<std::vector<std::int64_t>>& category_ids() const;  // of the training data
  double threshold() const;  // draw_threshold of infer_cfg.yml
  // thresholds of infer_cfg.yml: of each class the score with the best F1 in its evaluation
  const std::optional<std::vector<double>>& thresholds() const;
  std::string kernels() const;  // name of the kernels that run, for people
  // What was switched off and why, for people: oneDNN or bfloat16 where they cannot run.
  std::vector<std::string> remarks() const;
  int fixed_batch() const;  // the only batch size of the network; 0: any

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ppdet
