// Parts of the command ppdet_infer.
#pragma once

#include <array>
#include <atomic>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <opencv2/core.hpp>
#include <optional>
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

// The parts of a drawing.
struct DrawStyle {
  bool labels = true;    // the class beside each box
  bool scores = true;    // the score behind the class
  bool numbers = false;  // a number beside each box, and at the right a list of what they are
};

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
  std::vector<std::string> classes;  // names or numbers; empty: all
  DrawStyle style;
  bool crop = false;

  bool has_images() const { return !image_file.empty() || !image_dir.empty(); }
};

// arguments.cpp: the command line. Throws Error; empty after --help, which is printed.
std::optional<Arguments> parsed(int argc, char** argv);

// selection.cpp: the detections that are drawn and written.
struct Selection {
  Threshold threshold;
  std::vector<int> class_ids;  // empty: all
};
Selection selection_of(const Arguments& arguments, const Detector& detector);
std::vector<Box> of_classes(const std::vector<Box>& boxes, const std::vector<int>& class_ids);
std::vector<Box> confident(const std::vector<Box>& boxes, const Threshold& threshold);
std::string class_name(const std::vector<std::string>& names, int class_id);

// suggest.cpp: "; did you mean 'person'?" for the nearest of `allowed`, or an empty text.
std::string nearest_hint(const std::string& found, const std::vector<std::string>& allowed);

// results.cpp: what is written, as ppdet_lite/utils/detection_rows.py does.
Json detection_records(const std::vector<Box>& boxes, const Detector& detector,
                       const Threshold& threshold);
void add_coco_records(Json& records, const std::vector<Box>& boxes, std::int64_t image_id,
                      const std::string& file_name, const Detector& detector);

// files.cpp: files that are written whole. Throws Error for those that cannot be.
void make_folder(const fs::path& folder, const fs::path& file);
void write_text(const fs::path& path, const std::string& text);
void write_json(const fs::path& path, const Json& content);
void write_image(const fs::path& path, const cv::Mat& image_rgb);
// `read_image` without the lines that decoders print about damaged files.
cv::Mat read_quietly(const fs::path& path);
// Bytes that are not UTF-8, as file names may have, stand in JSON as in Python's: "\\udcfc" for
// 0xfc. Texts go through `utf8` into a Json, which goes through `json_text` into a file.
std::string utf8(const std::string& text);
std::string json_text(const Json& content, int indent = -1);

// image_ids.cpp
std::vector<std::int64_t> image_ids(const std::vector<fs::path>& images,
                                    const fs::path& annotations);

// drawing.cpp
cv::Mat drawn(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
              const std::vector<std::string>& names, const Threshold& threshold,
              const DrawStyle& style, int min_side = 0);

// crops.cpp: every object as an image, <output_dir>/crops/CLASS/IMAGE_1.jpg.
void save_crops(const cv::Mat& image_rgb, const std::vector<Box>& boxes,
                const std::vector<std::string>& names, const Threshold& threshold,
                const fs::path& output_dir, const fs::path& stem);

// images.cpp, frames.cpp, benchmark.cpp: the work; they return the exit code.
std::vector<fs::path> images_of(const Arguments& arguments);
int run_images(Detector& detector, const Arguments& arguments, const Selection& selection);
int run_frames(Detector& detector, const Arguments& arguments, const Selection& selection);
int run_benchmark(Detector& detector, const Arguments& arguments);

}  // namespace ppdet::tool
