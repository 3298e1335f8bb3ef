// Parts of the command ppdet_infer.
#pragma once

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "ppdet/detector.hpp"

namespace ppdet::tool {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kInterrupted = 130;
extern std::atomic<bool> interrupted;  // by Ctrl-C

// The lowest score that counts: one value for all classes, or one for each.
using Threshold = std::vector<double>;

struct Arguments {
  fs::path model_dir;
  Options options;
  std::vector<fs::path> image_file;
  fs::path image_dir, video_file;
  int camera_id = -1;
  std::string rtsp;
  int max_frames = 0;  // 0: all
  fs::path output_dir = "output";
  std::string threshold;  // a score or auto; empty: draw_threshold of infer_cfg.yml
  bool save_images = true, save_results = false, run_benchmark = false;
  fs::path anno_path;
  int repeats = 20;
};

// results.cpp: what is written, as ppdet_lite/utils/detection_rows.py does.
std::string class_name(const std::vector<std::string>& names, int class_id);
std::vector<Box> confident(const std::vector<Box>& boxes, const Threshold& threshold);
Json detection_records(const std::vector<Box>& boxes, const Detector& detector,
                       const Threshold& threshold);
void add_coco_records(Json& records, const std::vector<Box>& boxes, std::int64_t image_id,
                      const std::string& file_name, const Detector& detector);
void write_text(const fs::path& path, const std::string& text);
std::vector<std::int64_t> image_ids(const std::vector<fs::path>& images,
                                    const fs::path& annotations);

// drawing.cpp
cv::Mat drawn(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
              const std::vector<std::string>& names, const Threshold& threshold, int min_side = 0);

// images.cpp, frames.cpp, benchmark.cpp: the work; they return the exit code.
std::vector<fs::path> images_of(const Arguments& arguments);
int run_images(Detector& detector, const Arguments& arguments, const Threshold& threshold);
int run_frames(Detector& detector, const Arguments& arguments, const Threshold& threshold);
int run_benchmark(Detector& detector, const Arguments& arguments);

}  // namespace ppdet::tool
