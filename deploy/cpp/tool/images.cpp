#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
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
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().front() == '.') continue;
    if (entry.is_directory()) {
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

void save(const fs::path& path, const fs::path& stem, const cv::Mat& image,
          const std::vector<Box>& boxes, const Detector& detector, const Threshold& threshold,
          bool draw) {
  fs::create_directories(fs::absolute(stem).parent_path());
  const fs::path lines = stem.string() + ".json";
  fs::path written = lines;
  if (draw) {
    const std::string suffix = lower(path.extension().string());
    const bool can_write = kSuffixes.count(suffix) > 0 && cv::haveImageWriter("x" + suffix);
    written = stem.string() + (can_write ? path.extension().string() : ".jpg");
    cv::Mat bgr;
    cv::cvtColor(drawn(image, boxes, detector.class_names(), threshold, kReadableSide), bgr,
                 cv::COLOR_RGB2BGR);
    std::vector<unsigned char> bytes;
    cv::imencode(can_write ? suffix : ".jpg", bgr, bytes);
    write_text(written, {bytes.begin(), bytes.end()});
  }
  const Json found = detection_records(boxes, detector, threshold);
  const Json record = {{"image", path.string()},
                       {"width", image.cols},
                       {"height", image.rows},
                       {"threshold", threshold.size() == 1 ? Json(threshold[0]) : Json(threshold)},
                       {"detections", found}};
  write_text(lines, record.dump(2) + "\n");
  std::cout << path.string() << ": " << found.size() << " detections, written to "
            << written.string() << "\n";
}

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

int run_images(Detector& detector, const Arguments& arguments, const Threshold& threshold) {
  const std::vector<fs::path> images = images_of(arguments);
  const std::vector<fs::path> stems = output_stems(images, arguments);
  const auto ids = arguments.anno_path.empty() ? std::vector<std::int64_t>{}
                                               : image_ids(images, arguments.anno_path);
  Json records = Json::array();
  std::vector<std::string> failures;
  std::vector<cv::Mat> batch;
  std::vector<size_t> places;
  const auto size = static_cast<size_t>(arguments.options.batch_size);
  for (size_t i = 0; i < images.size() && !interrupted; ++i) {
    try {
      batch.push_back(read_image(images[i]));
      places.push_back(i);
    } catch (const ImageError& error) {
      std::cerr << error.what() << "\n";
      failures.emplace_back(error.what());
    }
    if (batch.empty() || (batch.size() < size && i + 1 < images.size())) continue;
    const auto found = detector.predict(batch);
    for (size_t k = 0; k < places.size(); ++k) {
      const size_t place = places[k];
      save(images[place], stems[place], batch[k], found[k], detector, threshold,
           arguments.save_images);
      if (arguments.save_results) {
        add_coco_records(records, found[k],
                         ids.empty() ? static_cast<std::int64_t>(place) : ids[place],
                         images[place].string(), detector);
      }
    }
    batch.clear();
    places.clear();
  }
  if (arguments.save_results) {
    write_text(arguments.output_dir / "bbox.json", records.dump() + "\n");
    std::cout << "all detections written to " << (arguments.output_dir / "bbox.json").string()
              << "\n";
  }
  if (interrupted) return kInterrupted;
  if (failures.empty()) return 0;
  std::string text = failures.front();
  if (failures.size() > 1) {
    text = std::to_string(failures.size()) + " of " + std::to_string(images.size()) +
           " images cannot be read:";
    for (const std::string& failure : failures) text += "\n  - " + failure;
  }
  throw ImageError(text);
}

}  // namespace ppdet::tool
