// Videos, cameras and streams: a thread reads ahead while the network runs.
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <regex>
#include <thread>

#include "tool.hpp"
#include "video.hpp"

namespace ppdet::tool {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kDefaultFps = 25;  // of sources that report none, as many cameras
constexpr int kTimeoutMs = 10000;
constexpr size_t kAhead = 4;  // frames that wait for the network

struct Frame {
  int number = 0;
  double time_s = 0;
  cv::Mat image;  // RGB
};

// An address for messages and files: user:***@ instead of the password.
std::string without_password(const std::string& url) {
  const std::string masked = std::regex_replace(
      url, std::regex(R"((://[^/:\[]*):(?!\d+(?:/|$))(?:[^/]*|.*)@)"), "$1:***@");
  return std::regex_replace(
      masked,
      std::regex(R"(((?:pass|pwd|psw|psk|token|secret|auth|key)[\w.-]*=)[^&]*)", std::regex::icase),
      "$1***");
}

class Source {
 public:
  explicit Source(const Arguments& arguments) : most_(arguments.max_frames) {
    if (!arguments.video_file.empty()) {
      value = arguments.video_file.string();
      name = "--video_file " + value;
      stem = arguments.video_file.stem().string();
      if (!fs::is_regular_file(arguments.video_file)) {
        throw Error(name + (fs::is_directory(arguments.video_file)
                                ? ": is a folder: use --image_dir"
                                : ": no such file"));
      }
      if (fs::weakly_canonical(arguments.output_dir) ==
          fs::weakly_canonical(fs::absolute(arguments.video_file)).parent_path()) {
        throw Error(
            name +
            ": its result would be written into the video's own folder; give another --output_dir");
      }
      capture_.open(arguments.video_file.string());
      open_or("not a video, or damaged");
    } else if (arguments.camera_id >= 0) {
      value = std::to_string(arguments.camera_id);
      name = "--camera_id " + value;
      stem = "camera_" + value;
      is_live = true;
      capture_.open(arguments.camera_id);
      open_or("cannot be opened; no such camera, no permission, or in use");
    } else {
      value = without_password(arguments.rtsp);
      name = "--rtsp " + value;
      stem = "stream";
      is_live = true;
      capture_.open(
          arguments.rtsp, cv::CAP_FFMPEG,
          {cv::CAP_PROP_OPEN_TIMEOUT_MSEC, kTimeoutMs, cv::CAP_PROP_READ_TIMEOUT_MSEC, kTimeoutMs});
      open_or("cannot be opened; wrong address or password, or nothing answers there");
    }
    const double rate = capture_.get(cv::CAP_PROP_FPS);
    fps = std::isfinite(rate) && rate > 0 && rate <= 1000 ? rate : kDefaultFps;
    const double frames = capture_.get(cv::CAP_PROP_FRAME_COUNT);
    if (!is_live && std::isfinite(frames) && frames > 0) {
      length = most_ > 0 ? std::min(static_cast<int>(frames), most_) : static_cast<int>(frames);
    }
  }

  // False at the end; throws Error where a live source closed or nothing can be decoded.
  bool read(Frame& frame) {
    if (most_ > 0 && count_ >= most_) return false;
    cv::Mat image;
    if (!capture_.read(image) || image.empty()) {
      if (is_live) throw Error(name + ": closed after " + std::to_string(count_) + " frames");
      if (count_ == 0) throw Error(name + ": no frame of it can be decoded");
      return false;
    }
    const auto now = Clock::now();
    if (count_ == 0) start_ = now;
    frame = {
        count_, is_live ? std::chrono::duration<double>(now - start_).count() : count_ / fps, {}};
    cv::cvtColor(image, frame.image,
                 image.channels() == 1 ? cv::COLOR_GRAY2RGB : cv::COLOR_BGR2RGB);
    ++count_;
    return true;
  }

  std::string name, value, stem;
  bool is_live = false;
  double fps = kDefaultFps;
  int length = 0;  // 0: not known

 private:
  void open_or(const std::string& reason) const {
    if (!capture_.isOpened()) throw Error(name + ": " + reason);
  }

  cv::VideoCapture capture_;
  int most_, count_ = 0;
  Clock::time_point start_;
};

// Frames that are read ahead by a thread; of a live source the oldest are skipped.
class ReadAhead {
 public:
  ReadAhead(Source& source, size_t length)
      : source_(source), length_(length), thread_([this] { fill(); }) {}
  ~ReadAhead() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  bool take(Frame& frame) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !frames_.empty() || is_over_; });
    if (frames_.empty()) return false;
    frame = std::move(frames_.front());
    frames_.pop_front();
    changed_.notify_all();
    return true;
  }

  // What ended the source, after its frames have been taken.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }
  int skipped() const { return skipped_; }

 private:
  void fill() {
    try {
      for (Frame frame; !interrupted && source_.read(frame);) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (source_.is_live && frames_.size() == length_) {
          frames_.pop_front();
          ++skipped_;
        }
        changed_.wait(lock, [this] { return stopped_ || frames_.size() < length_; });
        if (stopped_) break;
        frames_.push_back(std::move(frame));
        changed_.notify_all();
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    is_over_ = true;
    changed_.notify_all();
  }

  Source& source_;
  size_t length_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Frame> frames_;
  bool is_over_ = false, stopped_ = false;
  int skipped_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

// Writes the detections of the frames in their order; lines of JSON at once.
class Results {
 public:
  Results(const Source& source, const Arguments& arguments, const Detector& detector,
          const Selection& selection)
      : source_(source),
        arguments_(arguments),
        detector_(detector),
        selection_(selection),
        lines_path_(arguments.output_dir / (source.stem + ".jsonl")),
        video_(arguments.output_dir / source.stem, source.fps) {
    make_folder(arguments.output_dir, lines_path_);
    lines_.open(lines_path_);
    if (!lines_) throw Error(lines_path_.string() + ": cannot be written; no permission");
  }

  void write(const Frame& frame, const std::vector<Box>& all) {
    const std::vector<Box> boxes = of_classes(all, selection_.class_ids);
    const Json found = detection_records(boxes, detector_, selection_.threshold);
    const Json line = {{"frame", frame.number},
                       {"time_s", std::round(frame.time_s * 1e3) / 1e3},
                       {"detections", found}};
    lines_ << json_text(line) << std::endl;
    if (!lines_) throw Error(lines_path_.string() + ": cannot be written; the disk is full");
    ++count;
    detections += found.size();
    if (arguments_.save_results) {
      add_coco_records(records_, boxes, frame.number,
                       source_.value + "#" + std::to_string(frame.number), detector_);
    }
    if (arguments_.save_images) write_video(frame, boxes);
  }

  // Finishes all files and names those that were written.
  std::vector<fs::path> close() {
    std::vector<fs::path> written = {lines_path_};
    if (arguments_.save_results) {
      written.push_back(arguments_.output_dir / "bbox.json");
      write_json(written.back(), records_);
    }
    video_.close();
    if (!video_.path.empty()) written.insert(written.begin() + 1, video_.path);
    return written;
  }

  int count = 0;
  size_t detections = 0;

 private:
  // Keeps the time of a live source: repeats the last frame where some are missing, and leaves
  // frames out where there are more than the rate of the video.
  void write_video(const Frame& frame, const std::vector<Box>& boxes) {
    const long place = std::lround(frame.time_s * source_.fps);
    if (last_.empty()) {
      next_ = place;
    } else if (place < next_ - 1) {
      return;
    } else if (place > next_ + 1) {
      for (; next_ < place; ++next_) video_.write(last_);
    }
    last_ =
        drawn(frame.image, boxes, detector_.class_names(), selection_.threshold, arguments_.style);
    video_.write(last_);
    ++next_;
  }

  const Source& source_;
  const Arguments& arguments_;
  const Detector& detector_;
  const Selection& selection_;
  std::ofstream lines_;
  Json records_ = Json::array();
  cv::Mat last_;
  long next_ = 0;
  fs::path lines_path_;
  Video video_;
};

// Detects on all frames, in batches.
void detect(Detector& detector, ReadAhead& frames, size_t size, Results& results) {
  std::vector<Frame> batch;
  for (bool is_over = false; !is_over && !interrupted;) {
    Frame frame;
    is_over = !frames.take(frame);
    if (!is_over) batch.push_back(frame);
    if (batch.empty() || (batch.size() < size && !is_over)) continue;
    std::vector<cv::Mat> images;
    images.reserve(batch.size());
    for (const Frame& one : batch) images.push_back(one.image);
    const auto found = detector.predict(images);
    for (size_t i = 0; i < batch.size(); ++i) results.write(batch[i], found[i]);
    batch.clear();
  }
}

}  // namespace

int run_frames(Detector& detector, const Arguments& arguments, const Selection& selection) {
  Source source(arguments);
  Results results(source, arguments, detector, selection);
  const auto start = Clock::now();
  const auto size = static_cast<size_t>(arguments.options.batch_size);
  ReadAhead frames(source, std::max(kAhead, size));
  std::exception_ptr failure;
  try {
    detect(detector, frames, size, results);
  } catch (...) {  // what was written can be played all the same
    failure = std::current_exception();
  }
  const std::vector<fs::path> written = results.close();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::cout << source.name << ": " << results.count << " frames";
  if (frames.skipped() > 0) std::cout << ", " << frames.skipped() << " skipped";
  std::cout << ", " << results.detections << " detections, " << std::fixed << std::setprecision(1)
            << results.count / seconds << " frames/s, written to ";
  for (const fs::path& path : written) {
    std::cout << (path == written.front() ? "" : ", ") << path.string();
  }
  std::cout << "\n";
  if (failure) std::rethrow_exception(failure);
  if (interrupted) return kInterrupted;
  frames.rethrow();
  if (results.count < source.length) {
    std::cerr << "warning: " << source.name << ": of " << source.length << " frames "
              << results.count << " were done; the file is cut short or damaged\n";
  }
  return 0;
}

}  // namespace ppdet::tool
