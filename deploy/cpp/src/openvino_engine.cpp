// The portable .onnx in OpenVINO on the CPU in float32, or its own file in INT8.
#include <openvino/openvino.hpp>

#include "engine.hpp"

namespace ppdet {
namespace {

class OpenVinoEngine : public Engine {
 public:
  OpenVinoEngine(const ModelFolder& files, const Options& options) : graph_(files.graph.string()) {
    named_errors([&] {
      // float32 also on CPUs that have bfloat16.
      const ov::AnyMap settings = {
          ov::inference_num_threads(options.threads),
          ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
          ov::hint::inference_precision(ov::element::f32),
      };
      model_ = core_.compile_model(core_.read_model(graph_), "CPU", settings);
      request_ = model_.create_infer_request();
    });
  }

  Rows run(const Batch& batch) override {
    const auto count = static_cast<size_t>(batch.count);
    const ov::Shape pair = {count, 2};
    const ov::Shape image = {count, 3, static_cast<size_t>(batch.height),
                             static_cast<size_t>(batch.width)};
    Rows rows;
    named_errors([&] {
      for (const auto& port : model_.inputs()) {
        const std::string name = port.get_any_name();
        const bool is_image = name == "image";
        const auto& values = batch.input(name);
        // OpenVINO only reads from it.
        request_.set_tensor(port, ov::Tensor(ov::element::f32, is_image ? image : pair,
                                             const_cast<float*>(values.data())));
      }
      request_.infer();
      const ov::Tensor bbox = request_.get_output_tensor(0);
      const ov::Tensor counts = request_.get_output_tensor(1);
      const ov::Shape& sizes = bbox.get_shape();
      rows = rows_of(bbox.data<float>(), {sizes.begin(), sizes.end()}, counts.data<int>(), count,
                     graph_);
    });
    return rows;
  }

  std::string kernels() const override { return "OpenVINO"; }

 private:
  template <typename Work>
  void named_errors(Work work) const {
    try {
      work();
    } catch (const ov::Exception& error) {
      std::string text = error.what();
      std::replace(text.begin(), text.end(), '\n', ' ');
      throw Error(graph_ + ": OpenVINO cannot run this model: " + text.substr(0, 250));
    }
  }

  std::string graph_;
  ov::Core core_;
  ov::CompiledModel model_;
  ov::InferRequest request_;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const ModelFolder& files, const Options& options) {
  return std::make_unique<OpenVinoEngine>(files, options);
}

}  // namespace ppdet
