// For tests only: the members of Paddle Inference's C++ interface that deploy/cpp calls, so that it
// can be built without the official package and run in a Python process that has loaded Paddle,
// whose library exports them. Classes are opaque blocks, larger than the real ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace paddle {

class AnalysisConfig {
 public:
  enum class Precision { kFloat32 = 0, kInt8, kHalf, kBf16 };

  AnalysisConfig();
  AnalysisConfig(const AnalysisConfig& other);
  ~AnalysisConfig();
  void SetModel(const std::string& graph, const std::string& params);
  void DisableGlogInfo();
  void EnableUseGpu(std::uint64_t memory_mb, int device, Precision precision = Precision::kFloat32);
  void DisableGpu();
  void SetCpuMathLibraryNumThreads(int threads);
  void EnableMKLDNN();
  void EnableMkldnnBfloat16();
  void DisableMKLDNN();
  void SetOptimCacheDir(const std::string& folder);
  void EnableTensorRtEngine(std::int64_t workspace, int batch, int subgraph, Precision precision,
                            bool use_static, bool use_calib_mode, bool use_cuda_graph = false);
  void EnableTunedTensorRtDynamicShape(const std::string& path, bool allow_build_at_runtime);
  void CollectShapeRangeInfo(const std::string& path);
  void Exp_DisableTensorRtOPs(const std::vector<std::string>& names);

 private:
  alignas(16) unsigned char block_[1 << 14];
};

}  // namespace paddle

namespace paddle_infer {

using Config = paddle::AnalysisConfig;
using PrecisionType = Config::Precision;

class Tensor {
 public:
  void Reshape(const std::vector<int>& shape);
  std::vector<int> shape() const;
  template <typename T>
  void CopyFromCpu(const T* data);
  template <typename T>
  void CopyToCpu(T* data) const;
};

class Predictor {
 public:
  std::vector<std::string> GetInputNames();
  std::vector<std::string> GetOutputNames();
  std::unique_ptr<Tensor> GetInputHandle(const std::string& name);
  std::unique_ptr<Tensor> GetOutputHandle(const std::string& name);
  bool Run();
};

std::shared_ptr<Predictor> CreatePredictor(const Config& config);
std::string GetVersion();
std::tuple<int, int, int> GetTrtCompileVersion();
std::tuple<int, int, int> GetTrtRuntimeVersion();

}  // namespace paddle_infer
