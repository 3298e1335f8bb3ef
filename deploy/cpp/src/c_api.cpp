#include <algorithm>
#include <string>

#include "options.hpp"
#include "ppdet/detector.hpp"
#include "ppdet/ppdet.h"

struct ppdet_detector {
  ppdet::Detector detector;
};

namespace {

thread_local std::string last_error;

// The result of `work`; after an exception `failed`, with the text kept for ppdet_error.
template <typename Result, typename Work>
Result guarded(Result failed, Work work) noexcept {
  try {
    last_error.clear();
    return work();
  } catch (const std::exception& error) {
    try {
      last_error = error.what();
    } catch (...) {  // no memory for the text
    }
  } catch (...) {
    last_error = "unknown error";
  }
  return failed;
}

cv::Mat as_mat(const ppdet_image& image, int index) {
  if (image.data == nullptr || image.height < 1 || image.width < 1) {
    throw ppdet::ImageError("images[" + std::to_string(index) + "]: no pixels");
  }
  const size_t row = 3 * static_cast<size_t>(image.width);
  if (image.stride != 0 && image.stride < row) {
    throw ppdet::ImageError("images[" + std::to_string(index) + "].stride: found " +
                            std::to_string(image.stride) + ", allowed: 0, or " +
                            std::to_string(row) + " or more");
  }
  // The library only reads from it.
  return cv::Mat(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.data),
                 image.stride == 0 ? row : image.stride);
}

}  // namespace

const char* ppdet_error(void) { return last_error.c_str(); }

ppdet_detector* ppdet_create(const char* model_dir, const char* engine, int32_t threads,
                             int32_t batch_size) {
  return guarded<ppdet_detector*>(nullptr, [&] {
    if (model_dir == nullptr || engine == nullptr) {
      throw ppdet::Error("model_dir and engine: found NULL, allowed: text");
    }
    ppdet::Options options;
    options.engine = engine;
    options.threads = threads;
    options.batch_size = batch_size;
    return new ppdet_detector{ppdet::Detector(model_dir, options)};
  });
}

ppdet_detector* ppdet_open(const char* model_dir, const char* options) {
  return guarded<ppdet_detector*>(nullptr, [&] {
    if (model_dir == nullptr) throw ppdet::Error("model_dir: found NULL, allowed: text");
    const auto given = ppdet::read_options(options == nullptr ? "" : options);
    return new ppdet_detector{ppdet::Detector(model_dir, given)};
  });
}

int32_t ppdet_run(ppdet_detector* detector, const ppdet_image* images, int32_t count,
                  ppdet_box* boxes, int32_t capacity) {
  return guarded<int32_t>(-1, [&] {
    if (detector == nullptr || (images == nullptr && count > 0) ||
        (boxes == nullptr && capacity > 0) || count < 0 || capacity < 0) {
      throw ppdet::Error("ppdet_run: found NULL or a negative number");
    }
    std::vector<cv::Mat> batch;
    for (int32_t i = 0; i < count; ++i) batch.push_back(as_mat(images[i], i));
    int32_t found = 0;
    const auto all = detector->detector.predict(batch);
    for (size_t i = 0; i < all.size(); ++i) {
      for (const ppdet::Box& box : all[i]) {
        if (found < capacity) {
          boxes[found] = {
              static_cast<int32_t>(i), box.class_id, box.score, box.x1, box.y1, box.x2, box.y2};
        }
        ++found;
      }
    }
    return found;
  });
}

int32_t ppdet_class_count(const ppdet_detector* detector) {
  return detector == nullptr ? 0 : static_cast<int32_t>(detector->detector.class_names().size());
}

const char* ppdet_class_name(const ppdet_detector* detector, int32_t class_id) {
  const bool known = class_id >= 0 && class_id < ppdet_class_count(detector);
  return known ? detector->detector.class_names()[static_cast<size_t>(class_id)].c_str() : nullptr;
}

void ppdet_free(ppdet_detector* detector) { delete detector; }
