#include <algorithm>
#include <cctype>
#include <iostream>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <set>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr int kReadableSide = 320;  // smaller images are drawn enlarged

const std::set<std::string> kSuffixes = {".jpg", ".jpeg", ".jpe", ".jfif", ".png",
                                         ".bmp", ".dib",  ".tif", ".tiff", ".webp"};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Images below a folder, those of a folder before those of its folders; hidden ones and the folder
// of the results are left out. `seen` keeps links from being followed twice.
void collect(const fs::path& folder, std::set<fs::path>& seen, std::vector<fs::path>& found) {
  std::vector<fs::path> files;
  std::vector<fs::path> folders;
  std::error_code failed;
  for (const auto& entry :
       fs::directory_iterator(folder, fs::directory_options::skip_permission_denied)) {
    if (entry.path().filename().string().front() == '.') continue;
    if (entry.is_directory(failed)) {
      folders.push_back(entry.path());
    } else if (kSuffixes.count(lower(entry.path().extension().string())) > 0) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::sort(folders.begin(), folders.end());
  found.insert(found.end(), files.begin(), files.end());
  for (const fs::path& inside : folders) {
    if (seen.insert(fs::canonical(inside)).second) collect(inside, seen, found);
  }
}

// Paths, without ending, of the results of each image; a second a/x.png becomes a/x_png.
std::vector<fs::path> output_stems(const std::vector<fs::path>& images,
                                   const Arguments& arguments) {
  std::vector<fs::path> stems;
  std::set<std::string> used = {lower((arguments.output_dir / "bbox").string())};
  for (const fs::path& image : images) {
    const fs::path relative = arguments.image_dir.empty()
                                  ? image.filename()
                                  : image.lexically_relative(arguments.image_dir);
    fs::path stem = arguments.output_dir / fs::path(relative).replace_extension();
    if (used.count(lower(stem.string())) > 0) {
      const std::string ending = relative.extension().string();
      stem += "_" + (ending.empty() ? "2" : lower(ending.substr(1)));
    }
    const fs::path base = stem;
    for (int count = 2; !used.insert(lower(stem.string())).second; ++count) {
      stem = base.string() + "_" + std::to_string(count);
    }
    if (fs::weakly_canonical(stem.parent_path()) ==
        fs::weakly_canonical(fs::absolute(image).parent_path())) {
      throw Error(image.string() + ": its result would be written into the image's own folder " +
                  stem.parent_path().string() + "; give another --output_dir");
    }
    stems.push_back(stem);
  }
  return stems;
}

// Writes the files of one image.
void save(const fs::path& path, const fs::path& stem, const cv::Mat& image,
          const std::vector<Box>& boxes, const Detector& detector, const Threshold& threshold,
          const Arguments& arguments) {
  const auto& names = detector.class_names();
  if (arguments.crop) save_crops(image, boxes, names, threshold, arguments.output_dir, stem);
  const fs::path lines = stem.string() + ".json";
  fs::path written = lines;
  if (arguments.save_images) {
    const std::string suffix = lower(path.extension().string());
    const bool can_write = kSuffixes.count(suffix) > 0 && cv::haveImageWriter("x" + suffix);
    written = stem.string() + (can_write ? path.extension().string() : ".jpg");
    write_image(written, drawn(image, boxes, names, threshold, arguments.style, kReadableSide));
  }
  const Json found = detection_records(boxes, detector, threshold);
  const Json limit = threshold.size() == 1 ? Json(threshold[0]) : Json(threshold);
  write_json(lines, {{"image", utf8(path.string())},
                     {"width", image.cols},
                     {"height", image.rows},
                     {"threshold", limit},
                     {"detections", found}});
  std::cout << path.string() << ": " << found.size() << " detections, written to "
            << written.string() << "\n";
}

// Reads images in batches, and counts what is wrong with them.
class Batches {
 public:
  Batches(const std::vector<fs::path>& images, int size)
      : images_(images), size_(static_cast<size_t>(size)) {}

  // The next images that can be read, with their places in the list; false at the end.
  bool next(std::vector<cv::Mat>& batch, std::vector<size_t>& places) {
    batch.clear();
    places.clear();
    for (; place_ < images_.size() && batch.size() < size_ && !interrupted; ++place_) {
      try {
        batch.push_back(read_quietly(images_[place_]));
        places.push_back(place_);
      } catch (const ImageError& error) {
        failures_.emplace_back(error.what());
      }
    }
    return !batch.empty() && !interrupted;
  }

  // Throws ImageError with one line for each image that could not be read.
  void raise_failures() const {
    if (failures_.empty()) return;
    if (failures_.size() == 1) throw ImageError(failures_.front());
    std::string text = std::to_string(failures_.size()) + " of " + std::to_string(images_.size()) +
                       " images cannot be read:";
    for (const std::string& failure : failures_) text += "\n  - " + failure;
    throw ImageError(text);
  }

 private:
  const std::vector<fs::path>& images_;
  size_t size_, place_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace

std::vector<fs::path> images_of(const Arguments& arguments) {
  if (arguments.image_dir.empty()) {
    for (const fs::path& image : arguments.image_file) {
      if (!fs::is_regular_file(image)) {
        throw Error(
            "--image " + image.string() +
            (fs::is_directory(image) ? ": is a folder: use --image_dir" : ": no such image"));
      }
    }
    return arguments.image_file;
  }
  const std::string name = "--image_dir " + arguments.image_dir.string();
  if (!fs::is_directory(arguments.image_dir)) {
    throw Error(name + (fs::exists(arguments.image_dir) ? ": is a file, not a folder"
                                                        : ": no such folder"));
  }
  std::set<fs::path> seen = {fs::canonical(arguments.image_dir),
                             fs::weakly_canonical(arguments.output_dir)};
  std::vector<fs::path> found;
  collect(arguments.image_dir, seen, found);
  if (found.empty()) throw Error(name + ": no images in this folder or below it");
  return found;
}

int run_images(Detector& detector, const Arguments& arguments, const Selection& selection) {
  const std::vector<fs::path> images = images_of(arguments);
  const std::vector<fs::path> stems = output_stems(images, arguments);
  const auto ids = arguments.anno_path.empty() ? std::vector<std::int64_t>{}
                                               : image_ids(images, arguments.anno_path);
  Json records = Json::array();
  const auto write_records = [&] {
    if (!arguments.save_results) return;
    const fs::path path = arguments.output_dir / "bbox.json";
    write_json(path, records);
    std::cout << "all detections written to " << path.string() << "\n";
  };
  Batches batches(images, arguments.options.batch_size);
  std::vector<cv::Mat> batch;
  std::vector<size_t> places;
  try {
    while (batches.next(batch, places)) {
      const auto found = detector.predict(batch);
      for (size_t k = 0; k < places.size(); ++k) {
        const size_t place = places[k];
        const auto boxes = of_classes(found[k], selection.class_ids);
        save(images[place], stems[place], batch[k], boxes, detector, selection.threshold,
             arguments);
        if (arguments.save_results) {
          add_coco_records(records, boxes,
                           ids.empty() ? static_cast<std::int64_t>(place) : ids[place],
                           images[place].string(), detector);
        }
      }
    }
  } catch (...) {
    if (!records.empty()) write_records();
    throw;
  }
  write_records();
  if (interrupted) return kInterrupted;
  batches.raise_failures();
  return 0;
}

}  // namespace ppdet::tool
