#include "video.hpp"

#include <cmath>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "ppdet/detector.hpp"

namespace ppdet::tool {

void Video::write(const cv::Mat& image_rgb) {
  if (!writer_.isOpened()) open(image_rgb.size());
  const int below = size_.height - image_rgb.rows;
  const int right = size_.width - image_rgb.cols;
  if (below < 0 || below > 1 || right < 0 || right > 1) {
    throw Error(path.string() + ": the size of the frames changed on the way");
  }
  cv::Mat bgr;
  cv::cvtColor(image_rgb, bgr, cv::COLOR_RGB2BGR);
  cv::copyMakeBorder(bgr, bgr, 0, below, 0, right, cv::BORDER_REPLICATE);
  writer_.write(bgr);
  ++count_;
}

void Video::close() {
  if (!writer_.isOpened()) return;
  writer_.release();
  cv::VideoCapture written(path.string());
  const double frames = written.isOpened() ? written.get(cv::CAP_PROP_FRAME_COUNT) : 0;
  if (frames < count_ - 1) {
    throw Error(path.string() + ": the video is not whole; is the disk full?");
  }
}

void Video::open(cv::Size size) {
  struct Way {
    int code;
    const char* suffix;
    int backend;
  };
  const int jpeg = cv::VideoWriter::fourcc('M', 'J', 'P', 'G');
  std::vector<Way> ways = {{cv::VideoWriter::fourcc('m', 'p', '4', 'v'), ".mp4", cv::CAP_ANY},
                           {jpeg, ".avi", cv::CAP_ANY}};
  const bool is_odd = size.width % 2 != 0 || size.height % 2 != 0;
  if (is_odd && fps_ == std::floor(fps_)) {
    ways = {{jpeg, ".avi", cv::CAP_OPENCV_MJPEG}};
  } else {
    size = {size.width + size.width % 2, size.height + size.height % 2};
  }
  for (const Way& way : ways) {
    path = stem_.string() + way.suffix;
    if (writer_.open(path.string(), way.backend, way.code, fps_, size)) {
      size_ = size;
      return;
    }
  }
  throw Error(path.string() +
              ": cannot be written; no permission, or OpenCV has no writer of videos");
}

}  // namespace ppdet::tool
