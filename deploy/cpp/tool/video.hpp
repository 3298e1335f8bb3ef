#pragma once

#include <filesystem>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>

namespace ppdet::tool {

// A video that is written frame by frame; the path `stem` is without ending.
//
// MPEG-4 in .mp4, else Motion JPEG in .avi. FFmpeg writes even sides only: a video with an odd one
// is Motion JPEG by OpenCV's own writer, which knows whole frame rates only; with a broken rate the
// odd side gets one more pixel instead.
class Video {
 public:
  Video(std::filesystem::path stem, double fps) : stem_(std::move(stem)), fps_(fps) {}

  // All frames have the size of the first. Throws Error for others, and where none can be written.
  void write(const cv::Mat& image_rgb);

  // Finishes the file, without which it cannot be played. Throws Error if it is not whole: OpenCV
  // does not report a full disk.
  void close();

  std::filesystem::path path;  // of the file, once there is one

 private:
  void open(cv::Size size);

  std::filesystem::path stem_;
  double fps_;
  double count_ = 0;
  cv::Size size_;
  cv::VideoWriter writer_;
};

}  // namespace ppdet::tool
