#include "ppdet/detector.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "engine.hpp"
#include "infer_config.hpp"
#include "options.hpp"

namespace ppdet {
namespace {

std::unique_ptr<Engine> open_engine(const ModelFolder& files, const Options& options) {
  if (files.config.stage != "nms" && files.config.stage != "nms_fixed") {
    throw Error("--model_dir " + files.path.string() + ": exported up to the stage " +
                files.config.stage + ", so it gives no detections; export it up to the stage nms");
  }
  if (files.config.target == "cpu" && (options.device != "CPU" || options.onednn_bfloat16)) {
    throw Error(
        "--model_dir " + files.path.string() +
        ": exported for the target cpu, that is for CPUs in float32; for " +
        (options.onednn_bfloat16 ? "--enable_mkldnn_bfloat16" : "--device " + options.device) +
        " export it for the target any");
  }
#ifdef PPDET_WITH_PADDLE
  if (options.engine == "paddle") return open_paddle(files, options);
#endif
#ifdef PPDET_WITH_OPENVINO
  if (options.engine == "openvino") return open_openvino(files, options);
#endif
  throw Error("--engine: this library was built without one");
}

}  // namespace

Batch stacked(const std::vector<Sample>& samples, int count) {
  const Sample& first = samples.front();
  Batch batch{count, first.height, first.width, {}, {}, {}};
  const size_t size = first.planes.total();
  batch.image.resize(size * static_cast<size_t>(count));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const Sample& sample = samples[std::min(i, samples.size() - 1)];  // the last fills the batch up
    if (sample.height != first.height || sample.width != first.width) {
      throw Error(
          "images of different network input sizes cannot be one batch: use --batch_size 1");
    }
    std::memcpy(&batch.image[i * size], sample.planes.ptr<float>(), size * sizeof(float));
    for (const int side : {0, 1}) {
      batch.im_shape.push_back(sample.im_shape[side]);
      batch.scale_factor.push_back(sample.scale_factor[side]);
    }
  }
  return batch;
}

Rows rows_of(const float* values, const std::vector<int64_t>& shape, const int* counts,
             size_t images, const std::string& graph) {
  constexpr size_t kRow = 6;
  const bool is_padded = shape.size() == 3;
  const size_t rows =
      shape.size() < 2 || shape.back() != kRow ? 0 : static_cast<size_t>(shape[shape.size() - 2]);
  Rows result{{}, {counts, counts + images}, is_padded ? rows : 0};
  size_t sum = 0;
  for (const int count : result.counts) {
    const size_t most = is_padded ? rows : rows - std::min(sum, rows);
    if (count < 0 || static_cast<size_t>(count) > most) {
      throw Error(graph + ": its outputs are not detections; export the model again");
    }
    sum += static_cast<size_t>(count);
  }
  const size_t total = is_padded ? rows * images : sum;
  result.values.assign(values, values + total * kRow);
  return result;
}

std::vector<std::string> engines() {
  return {
#ifdef PPDET_WITH_PADDLE
      "paddle",
#endif
#ifdef PPDET_WITH_OPENVINO
      "openvino",
#endif
  };
}

struct Detector::State {
  State(const std::filesystem::path& folder, const Options& options)
      : files(folder, options.engine, options.precision, options.input_size),
        engine(open_engine(files, options)) {}

  ModelFolder files;
  std::unique_ptr<Engine> engine;
  std::mutex turn;
};

Detector::Detector(const std::filesystem::path& folder, const Options& options) {
  try {
    state_ = std::make_unique<State>(folder, checked(options));
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
}
Detector::~Detector() = default;
Detector::Detector(Detector&&) noexcept = default;
Detector& Detector::operator=(Detector&&) noexcept = default;

Sample Detector::preprocess(const cv::Mat& image) const {
  return prepared(state_->files.config.preprocess, image);
}

std::vector<std::vector<Box>> Detector::predict(const std::vector<cv::Mat>& images) {
  std::vector<Sample> samples;
  for (const cv::Mat& image : images) samples.push_back(preprocess(image));
  return run(samples);
}

std::vector<std::vector<Box>> Detector::run(const std::vector<Sample>& samples) {
  if (samples.empty()) return {};
  const int fixed = fixed_batch();
  if (fixed > 0 && samples.size() > static_cast<size_t>(fixed)) {
    throw Error(state_->files.path.string() + ": " + std::to_string(samples.size()) +
                " images at once, but this model takes " + std::to_string(fixed) +
                "; use --batch_size " + std::to_string(fixed));
  }
  const Batch batch = stacked(samples, fixed > 0 ? fixed : static_cast<int>(samples.size()));
  Rows rows;
  {
    const std::lock_guard<std::mutex> lock(state_->turn);
    rows = state_->engine->run(batch);
  }
  std::vector<std::vector<Box>> found(samples.size());
  size_t start = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto count = static_cast<size_t>(rows.counts[i]);
    for (size_t k = 0; k < count; ++k) {
      const float* v = &rows.values[6 * (start + k)];
      found[i].push_back({static_cast<int>(v[0]), v[1], v[2], v[3], v[4], v[5]});
    }
    start += rows.stride > 0 ? rows.stride : count;
    std::stable_sort(found[i].begin(), found[i].end(),
                     [](const Box& a, const Box& b) { return a.score > b.score; });
  }
  return found;
}

const std::vector<std::string>& Detector::class_names() const {
  return state_->files.config.class_names;
}
const std::optional<std::vector<std::int64_t>>& Detector::category_ids() const {
  return state_->files.config.category_ids;
}
double Detector::threshold() const { return state_->files.config.draw_threshold; }
const std::optional<std::vector<double>>& Detector::thresholds() const {
  return state_->files.config.thresholds;
}
std::string Detector::kernels() const { return state_->engine->kernels(); }
std::vector<std::string> Detector::remarks() const {
  const std::lock_guard<std::mutex> lock(state_->turn);
  return state_->engine->remarks();
}
int Detector::fixed_batch() const {
  return state_->files.config.batch > 0 ? state_->files.config.batch
                                        : state_->engine->fixed_batch();
}

}  // namespace ppdet
