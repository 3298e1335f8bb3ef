// model.json or model.pdmodel in Paddle Inference: CPU with oneDNN, GPU, TensorRT.
#include <paddle_inference_api.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <tuple>

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

// Linux names there what the processor can do; elsewhere bfloat16 stays off.
bool cpu_has_bfloat16() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string word; stream >> word;) {
    if (word == "avx512_bf16" || word == "amx_bf16") return true;
  }
  return false;
}

paddle_infer::Config cpu_config(const ModelFolder& files, const Options& options) {
  paddle_infer::Config config;
  config.SetModel(files.graph.string(), files.params.string());
  config.DisableGlogInfo();
  config.DisableGpu();
  config.SetCpuMathLibraryNumThreads(options.threads);
  if (options.onednn) {
    config.EnableMKLDNN();
    if (options.onednn_bfloat16) config.EnableMkldnnBfloat16();
  } else {
    turn_onednn_off(config, 0);  // on by default in Paddle 3.3
  }
  return config;
}

// Where oneDNN cannot run a network, Paddle's own kernels take over, with a remark.
class PaddleEngine : public Engine {
 public:
  PaddleEngine(const ModelFolder& files, Options options)
      : files_(files), options_(std::move(options)) {
    options_.onednn = options_.onednn && options_.device == "CPU";
    if (options_.onednn_bfloat16 && !cpu_has_bfloat16()) {
      options_.onednn_bfloat16 = false;
      remarks_.emplace_back(
          "bfloat16 is off: this CPU has no instructions for it (avx512_bf16, amx_bf16)");
    }
    or_without_onednn([] {});
  }

  Rows run(const Batch& batch) override {
    Rows rows;
    or_without_onednn([&] {
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
                     files_.graph.string());
    });
    return rows;
  }

  std::string kernels() const override {
    if (options_.run_mode != "paddle") return "TensorRT " + options_.run_mode.substr(4);
    if (options_.device == "GPU") return "paddle on GPU";
    if (!options_.onednn) return "paddle";
    return options_.onednn_bfloat16 ? "oneDNN bfloat16" : "oneDNN";
  }
  int fixed_batch() const override { return fixed_batch_; }
  std::vector<std::string> remarks() const override { return remarks_; }

 private:
  void build() {
    if (options_.run_mode != "paddle") {
      auto found = tensorrt_predictor(files_, options_);
      predictor_ = std::move(found.predictor);
      fixed_batch_ = found.fixed_batch;
    } else if (options_.device == "GPU") {
      predictor_ = paddle_infer::CreatePredictor(gpu_config(files_.graph, files_.params));
    } else {
      predictor_ = paddle_infer::CreatePredictor(cpu_config(files_, options_));
    }
  }

  // Does `work`, at the second attempt without oneDNN. An error that comes again is not oneDNN's:
  // it is thrown, and oneDNN stays on.
  template <typename Work>
  void or_without_onednn(Work work) {
    try {
      with_predictor(work);
      return;
    } catch (const std::exception& error) {
      if (!options_.onednn) throw Error(problem(error));
      reason_ = end_of(error);
    }
    const auto before = std::pair{options_, predictor_};
    options_.onednn = options_.onednn_bfloat16 = false;
    predictor_.reset();
    try {
      with_predictor(work);
    } catch (const std::exception& error) {
      std::tie(options_, predictor_) = before;
      throw Error(problem(error));
    }
    remarks_.push_back("oneDNN is off: " + files_.graph.string() +
                       ": oneDNN cannot run this model: " + reason_);
  }

  template <typename Work>
  void with_predictor(Work work) {
    if (!predictor_) build();
    work();
  }

  // The end of a message of Paddle, which is its reason; before it comes a call stack.
  static std::string end_of(const std::exception& error) {
    constexpr size_t kMost = 250;
    std::string text = error.what();
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.size() > kMost ? "... " + text.substr(text.size() - kMost) : text;
  }

  std::string problem(const std::exception& error) const {
    if (dynamic_cast<const Error*>(&error) != nullptr) return error.what();
    return files_.graph.string() + ": Paddle cannot run this model. Either it and " +
           "model.pdiparams do not belong together, or another version of Paddle wrote them: " +
           end_of(error);
  }

  const ModelFolder& files_;
  Options options_;
  std::shared_ptr<paddle_infer::Predictor> predictor_;
  int fixed_batch_ = 0;
  std::string reason_;
  std::vector<std::string> remarks_;
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
