// Engines that run an exported network.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "infer_config.hpp"
#include "ppdet/detector.hpp"

namespace ppdet {

// Inputs of the network for some images, in memory that belongs to the caller of `Engine::run`.
struct Batch {
  int count = 0, height = 0, width = 0;
  std::vector<float> image;                   // [count, 3, height, width]
  std::vector<float> im_shape, scale_factor;  // [count, 2]

  const std::vector<float>& input(const std::string& name) const {
    return name == "image" ? image : name == "im_shape" ? im_shape : scale_factor;
  }
};

// What a network gives: rows of (class, score, x1, y1, x2, y2), image after image, and how many
// there are of each image. Where `stride` is not 0, every image has so many rows, of which the
// first count.
struct Rows {
  std::vector<float> values;
  std::vector<int> counts;
  size_t stride = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Rows run(const Batch& batch) = 0;
  virtual std::string kernels() const = 0;
  virtual int fixed_batch() const { return 0; }
  virtual std::vector<std::string> remarks() const { return {}; }
};

std::unique_ptr<Engine> open_openvino(const ModelFolder& files, const Options& options);
std::unique_ptr<Engine> open_paddle(const ModelFolder& files, const Options& options);

// Samples as a batch of `count`, which the last one fills up. Throws Error for different sizes.
Batch stacked(const std::vector<Sample>& samples, int count);

// `Rows` from the two outputs of a graph: rows [D, 6], or [N, K, 6] of a fixed size, and counts
// [N].
Rows rows_of(const float* values, const std::vector<int64_t>& shape, const int* counts,
             size_t images, const std::string& graph);

}  // namespace ppdet
