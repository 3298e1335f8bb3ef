// TensorRT through Paddle, with the settings of tensorrt.json and the cache of
// ppdet_lite/runtime/engines/tensorrt.py: both languages use the engines that either has built.
#pragma once

#include <paddle_inference_api.h>

#include <filesystem>
#include <memory>
#include <string>

#include "engine.hpp"
#include "infer_config.hpp"
#include "ppdet/detector.hpp"

namespace ppdet {

struct TensorRtPredictor {
  std::shared_ptr<paddle_infer::Predictor> predictor;
  int fixed_batch = 0;  // 0 with open sizes
};

// Throws Error for settings and folders that cannot be used, and for a model.json that Python has
// not converted yet, since Paddle converts those in Python only.
TensorRtPredictor tensorrt_predictor(const ModelFolder& files, const Options& options);

// Runs a predictor on a batch.
void run_batch(paddle_infer::Predictor& predictor, const Batch& batch);

// Paddle's config of a graph on the GPU.
paddle_infer::Config gpu_config(const std::filesystem::path& graph,
                                const std::filesystem::path& params);

}  // namespace ppdet
