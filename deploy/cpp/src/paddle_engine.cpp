// model.json or model.pdmodel in Paddle Inference: CPU with oneDNN, GPU, TensorRT.
#include <paddle_inference_api.h>

#include <algorithm>
#include <numeric>

#include "engine.hpp"
#include "tensorrt.hpp"

namespace ppdet {
namespace {

// Not in every release.
template <typename Config>
auto turn_onednn_off(Config& config, int) -> decltype(config.DisableMKLDNN()) {
  config.DisableMKLDNN();
}
template <typename Config>
void turn_onednn_off(Config&, long) {}

paddle_infer::Config cpu_config(const ModelFolder& files, const Options& options) {
  paddle_infer::Config config;
  config.SetModel(files.graph.string(), files.params.string());
  config.DisableGlogInfo();
  config.DisableGpu();
  config.SetCpuMathLibraryNumThreads(options.threads);
  if (options.onednn) {
    config.EnableMKLDNN();
  } else {
    turn_onednn_off(config, 0);  // on by default in Paddle 3.3
  }
  return config;
}

class PaddleEngine : public Engine {
 public:
  PaddleEngine(const ModelFolder& files, const Options& options)
      : graph_(files.graph.string()), kernels_(options.onednn ? "oneDNN" : "paddle") {
    named_errors([&] {
      if (options.run_mode != "paddle") {
        kernels_ = "TensorRT " + options.run_mode.substr(4);
        auto found = tensorrt_predictor(files, options);
        predictor_ = std::move(found.predictor);
        fixed_batch_ = found.fixed_batch;
      } else if (options.device == "GPU") {
        kernels_ = "paddle on GPU";
        predictor_ = paddle_infer::CreatePredictor(gpu_config(files.graph, files.params));
      } else {
        predictor_ = paddle_infer::CreatePredictor(cpu_config(files, options));
      }
    });
  }

  Rows run(const Batch& batch) override {
    Rows rows;
    named_errors([&] {
      run_batch(*predictor_, batch);
      const auto names = predictor_->GetOutputNames();
      const auto bbox = predictor_->GetOutputHandle(names.at(0));
      const auto sizes = bbox->shape();
      const auto total = std::accumulate(sizes.begin(), sizes.end(), 1LL, std::multiplies<>());
      std::vector<float> values(static_cast<size_t>(total));
      if (!values.empty()) bbox->CopyToCpu(values.data());
      std::vector<int> counts(static_cast<size_t>(batch.count));
      predictor_->GetOutputHandle(names.at(1))->CopyToCpu(counts.data());
      rows = rows_of(values.data(), {sizes.begin(), sizes.end()}, counts.data(), counts.size(),
                     graph_);
    });
    return rows;
  }

  std::string kernels() const override { return kernels_; }
  int fixed_batch() const override { return fixed_batch_; }

 private:
  template <typename Work>
  void named_errors(Work work) const {
    try {
      work();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      std::string text = error.what();  // Paddle's call stack, then its reason
      std::replace(text.begin(), text.end(), '\n', ' ');
      if (text.size() > 250) text = "... " + text.substr(text.size() - 250);
      throw Error(graph_ + ": Paddle cannot run this model. Either it and model.pdiparams do not " +
                  "belong together, or another version of Paddle wrote them: " + text);
    }
  }

  std::string graph_, kernels_;
  std::shared_ptr<paddle_infer::Predictor> predictor_;
  int fixed_batch_ = 0;
};

}  // namespace

void run_batch(paddle_infer::Predictor& predictor, const Batch& batch) {
  for (const std::string& name : predictor.GetInputNames()) {
    const auto input = predictor.GetInputHandle(name);
    const bool is_image = name == "image";
    input->Reshape(is_image ? std::vector<int>{batch.count, 3, batch.height, batch.width}
                            : std::vector<int>{batch.count, 2});
    input->CopyFromCpu(batch.input(name).data());
  }
  predictor.Run();
}

std::unique_ptr<Engine> open_paddle(const ModelFolder& files, const Options& options) {
  return std::make_unique<PaddleEngine>(files, options);
}

}  // namespace ppdet
