// Videos, cameras and streams: a thread reads ahead while the network runs.
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <mutex>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <regex>
#include <thread>

#include "tool.hpp"

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
      name = "--video_file " + arguments.video_file.string();
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
      name = "--camera_id " + std::to_string(arguments.camera_id);
      stem = "camera_" + std::to_string(arguments.camera_id);
      is_live = true;
      capture_.open(arguments.camera_id);
      open_or("cannot be opened; no such camera, no permission, or in use");
    } else {
      name = "--rtsp " + without_password(arguments.rtsp);
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

  std::string name, stem;
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

// MPEG-4 in .mp4, else Motion JPEG in .avi; MPEG-4 takes even sides only.
class Video {
 public:
  Video(fs::path stem, double fps) : stem_(std::move(stem)), fps_(fps) {}

  void write(const cv::Mat& image_rgb) {
    if (!writer_.isOpened()) open(image_rgb.size());
    if (image_rgb.cols > size_.width || image_rgb.rows > size_.height) {
      throw Error(path.string() + ": the size of the frames changed on the way");
    }
    cv::Mat bgr;
    cv::cvtColor(image_rgb, bgr, cv::COLOR_RGB2BGR);
    cv::copyMakeBorder(bgr, bgr, 0, size_.height - bgr.rows, 0, size_.width - bgr.cols,
                       cv::BORDER_REPLICATE);
    writer_.write(bgr);
  }

  fs::path path;

 private:
  void open(const cv::Size& size) {
    size_ = {size.width + size.width % 2, size.height + size.height % 2};
    for (const auto& [code, suffix] :
         {std::pair{cv::VideoWriter::fourcc('m', 'p', '4', 'v'), ".mp4"},
          {cv::VideoWriter::fourcc('M', 'J', 'P', 'G'), ".avi"}}) {
      path = stem_.string() + suffix;
      if (writer_.open(path.string(), code, fps_, size_)) return;
    }
    throw Error(path.string() +
                ": cannot be written; no permission, or OpenCV has no writer of videos");
  }

  fs::path stem_;
  double fps_;
  cv::Size size_;
  cv::VideoWriter writer_;
};

// Writes the detections of the frames in their order; lines of JSON at once.
class Results {
 public:
  Results(const Source& source, const Arguments& arguments, const Detector& detector,
          const Threshold& threshold)
      : source_(source),
        arguments_(arguments),
        detector_(detector),
        threshold_(threshold),
        lines_path(arguments.output_dir / (source.stem + ".jsonl")),
        video(arguments.output_dir / source.stem, source.fps) {
    fs::create_directories(arguments.output_dir);
    lines_.open(lines_path);
    if (!lines_) throw Error(lines_path.string() + ": cannot be written");
  }

  void write(const Frame& frame, const std::vector<Box>& boxes) {
    const Json found = detection_records(boxes, detector_, threshold_);
    const Json line = {{"frame", frame.number},
                       {"time_s", std::round(frame.time_s * 1e3) / 1e3},
                       {"detections", found}};
    lines_ << line.dump() << std::endl;
    if (!lines_) throw Error(lines_path.string() + ": cannot be written; the disk is full");
    ++count;
    detections += found.size();
    if (arguments_.save_results) {
      add_coco_records(records_, boxes, frame.number,
                       source_.name + "#" + std::to_string(frame.number), detector_);
    }
    if (!arguments_.save_images) return;
    // A live source keeps its time: its last frame is repeated where some are missing.
    const long place = std::lround(frame.time_s * source_.fps);
    if (last_.empty()) next_ = place;
    if (place < next_ - 1) return;
    for (; place > next_ + 1; ++next_) video.write(last_);
    last_ = drawn(frame.image, boxes, detector_.class_names(), threshold_);
    video.write(last_);
    ++next_;
  }

  void finish() const {
    if (arguments_.save_results)
      write_text(arguments_.output_dir / "bbox.json", records_.dump() + "\n");
  }

  int count = 0;
  size_t detections = 0;

 private:
  const Source& source_;
  const Arguments& arguments_;
  const Detector& detector_;
  Threshold threshold_;
  std::ofstream lines_;
  Json records_ = Json::array();
  cv::Mat last_;
  long next_ = 0;

 public:
  fs::path lines_path;
  Video video;
};

}  // namespace

int run_frames(Detector& detector, const Arguments& arguments, const Threshold& threshold) {
  Source source(arguments);
  Results results(source, arguments, detector, threshold);
  const auto start = Clock::now();
  const auto size = static_cast<size_t>(arguments.options.batch_size);
  ReadAhead frames(source, std::max(kAhead, size));
  std::vector<Frame> batch;
  for (bool is_over = false; !is_over && !interrupted;) {
    Frame frame;
    is_over = !frames.take(frame);
    if (!is_over) batch.push_back(frame);
    if (batch.empty() || (batch.size() < size && !is_over)) continue;
    std::vector<cv::Mat> images;
    for (const Frame& one : batch) images.push_back(one.image);
    const auto found = detector.predict(images);
    for (size_t i = 0; i < batch.size(); ++i) results.write(batch[i], found[i]);
    batch.clear();
  }
  results.finish();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::cout << source.name << ": " << results.count << " frames";
  if (frames.skipped() > 0) std::cout << ", " << frames.skipped() << " skipped";
  std::cout << ", " << results.detections << " detections, " << results.count / seconds
            << " frames/s, written to " << results.lines_path.string();
  if (!results.video.path.empty()) std::cout << ", " << results.video.path.string();
  std::cout << "\n";
  if (interrupted) return kInterrupted;
  frames.rethrow();
  if (results.count < source.length) {
    std::cerr << "warning: " << source.name << ": of " << source.length << " frames "
              << results.count << " were done; the file is cut short or damaged\n";
  }
  return 0;
}

}  // namespace ppdet::tool
