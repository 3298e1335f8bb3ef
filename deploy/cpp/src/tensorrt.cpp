#include "tensorrt.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine.hpp"

namespace ppdet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;  // keys in alphabetical order, as in Python's key of the cache
using Shapes = std::array<std::vector<int>, 3>;  // smallest, usual, largest

constexpr const char* kSettingsFile = "tensorrt.json";
constexpr int kGpuMemoryMiB = 200;  // at the start; it grows when needed
constexpr size_t kMostCalibrationImages = 500;

// A file that one process at a time holds.
class Lock {
 public:
  explicit Lock(const fs::path& path)
      : file_(open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644)) {
    if (file_ < 0) throw Error(path.string() + ": cannot be written; give another --trt_cache_dir");
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      std::cerr << "TensorRT: waiting for another run that is building engines in "
                << path.parent_path().string() << "\n";
      flock(file_, LOCK_EX);
    }
  }
  ~Lock() { close(file_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int file_;
};

std::string gpu_name() {
  using GetProperties = int (*)(void*, int);
  for (const char* name :
       {"libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
    if (library == nullptr) continue;
    const auto get = reinterpret_cast<GetProperties>(dlsym(library, "cudaGetDeviceProperties"));
    std::vector<char> properties(1 << 14);  // begins with the name
    if (get != nullptr && get(properties.data(), 0) == 0) return properties.data();
  }
  throw Error("--device GPU: no GPU is visible; check its driver and the CUDA libraries");
}

std::string paddle_version() {
  const std::string text = paddle_infer::GetVersion();  // "version: 3.3.1\ncommit: ..."
  const size_t start = text.find(':') == std::string::npos ? 0 : text.find(':') + 1;
  const size_t begin = text.find_first_not_of(' ', start);
  return text.substr(begin, text.find_first_of("\r\n ", begin) - begin);
}

Json as_json(const std::tuple<int, int, int>& version) {
  return {std::get<0>(version), std::get<1>(version), std::get<2>(version)};
}

class Setup {
 public:
  Setup(const ModelFolder& files, const Options& options)
      : files_(files),
        options_(options),
        precision_(options.run_mode.substr(4)),
        is_json_(files.graph.extension() == ".json"),
        is_open_(!files.config.input_hw),
        batch_(files.config.batch > 0 ? files.config.batch : options.batch_size) {
    std::ifstream stream(files.path / kSettingsFile);
    settings_ = Json::parse(stream, nullptr, false);
    if (!settings_.is_object()) {
      throw Error((files.path / kSettingsFile).string() +
                  ": missing or damaged; export the model again, or use --run_mode paddle");
    }
    if (is_json_ && precision_ == "int8") {
      throw Error(
          "--run_mode trt_int8: Paddle calibrates model.pdmodel only; export it with "
          "--format paddle-legacy, or use --run_mode trt_fp16");
    }
    outside_ = settings_.at("outside_tensorrt").at(files.graph.filename()).at(precision_);
    needs_shapes_ = is_open_ || std::get<0>(paddle_infer::GetTrtCompileVersion()) >= 10;
    make_folder();
  }

  int fixed_batch() const { return is_open_ ? 0 : batch_; }

  std::shared_ptr<paddle_infer::Predictor> build() {
    const Lock lock(folder_ / "lock");
    if (is_json_) {
      const fs::path graph = folder_ / "model.json";
      if (!fs::exists(folder_ / "complete")) {
        throw Error("--run_mode " + options_.run_mode + ": Paddle converts " +
                    files_.graph.string() +
                    " in Python only: run deploy/python/infer.py once with the same options, or "
                    "export with --format paddle-legacy");
      }
      return paddle_infer::CreatePredictor(gpu_config(graph, folder_ / "model.pdiparams"));
    }
    if (needs_shapes_ && !fs::exists(shapes_file())) collect_shapes();
    if (precision_ == "int8" && calibration_tables(folder_).empty()) calibrate();
    paddle_infer::Config config = gpu_config(files_.graph, files_.params);
    ask_for_tensorrt(config, true);
    return paddle_infer::CreatePredictor(config);
  }

 private:
  fs::path shapes_file() const { return folder_ / "shapes.pbtxt"; }

  std::map<std::string, Shapes> shapes() const {
    std::array<int, 3> batches{batch_, batch_, batch_};
    std::array<std::array<int, 2>, 3> sizes{};
    if (!is_open_) {
      sizes.fill(*files_.config.input_hw);
    } else {
      const auto& sides = options_.trt_sides;
      if (!std::is_sorted(sides.begin(), sides.end()) || sides[0] < 1 ||
          std::any_of(sides.begin(), sides.end(), [](int side) { return side % kStride != 0; })) {
        throw Error("--trt_min_shape, --trt_opt_shape, --trt_max_shape: allowed: multiples of " +
                    std::to_string(kStride) + " in rising order");
      }
      for (size_t i = 0; i < 3; ++i) sizes[i] = {sides[i], sides[i]};
      batches[0] = files_.config.batch > 0 ? files_.config.batch : 1;
    }
    std::map<std::string, Shapes> all;
    for (size_t i = 0; i < 3; ++i) {
      all["image"][i] = {batches[i], 3, sizes[i][0], sizes[i][1]};
      all["im_shape"][i] = all["scale_factor"][i] = {batches[i], 2};
    }
    return all;
  }

  // `<cache>/<precision>-<hash>`, the hash of everything that an engine depends on.
  void make_folder() {
    const fs::path parent = fs::absolute(
        options_.cache_dir.empty() ? files_.path / settings_.at("cache_folder").get<std::string>()
                                   : options_.cache_dir);
    Json about = {
        {"gpu", gpu_name()},
        {"min_subgraph_size", files_.config.min_subgraph_size},
        {"model", {sha256_of(files_.graph), sha256_of(files_.params)}},
        {"outside_tensorrt", outside_},
        {"in_float32", settings_.at("in_float32").at(files_.graph.filename()).at(precision_)},
        {"paddle", paddle_version()},
        {"precision", precision_},
        {"shapes", shapes()},
        {"tensorrt",
         {as_json(paddle_infer::GetTrtCompileVersion()),
          as_json(paddle_infer::GetTrtRuntimeVersion())}},
        {"workspace_bytes", settings_.at("workspace_bytes")}};
    if (is_json_) about["folder"] = parent.string();  // the converted model holds paths
    if (precision_ == "int8") {                       // ranges are those of images so prepared
      const auto size = output_size(files_.config.preprocess);
      about["infer_cfg"] = sha256_of(files_.path / kConfigFile);
      about["input_hw"] = size ? Json(*size) : Json();
    }
    const std::string digest = sha256_of_text(about.dump(-1, ' ', true)).substr(0, 16);
    folder_ = parent / (precision_ + "-" + digest);
    std::error_code failed;
    fs::create_directories(folder_, failed);
    std::ofstream stream(folder_ / "about.json");
    stream << about.dump(1) << "\n";
    if (!stream)
      throw Error("--trt_cache_dir " + parent.string() +
                  ": cannot be written; give another folder");
  }

  void ask_for_tensorrt(paddle_infer::Config& config, bool keep_engine) const {
    using Precision = paddle_infer::PrecisionType;
    const auto precision = precision_ == "fp32"   ? Precision::kFloat32
                           : precision_ == "fp16" ? Precision::kHalf
                                                  : Precision::kInt8;
    config.EnableTensorRtEngine(settings_.at("workspace_bytes").get<std::int64_t>(), batch_,
                                files_.config.min_subgraph_size, precision, keep_engine,
                                precision_ == "int8");
    config.SetOptimCacheDir(folder_.string());
    if (needs_shapes_) config.EnableTunedTensorRtDynamicShape(shapes_file().string(), true);
    config.Exp_DisableTensorRtOPs(outside_);
  }

  // Runs a predictor and lets it go, which makes Paddle write shapes and ranges.
  static void run_and_let_go(const paddle_infer::Config& config,
                             const std::vector<Batch>& batches) {
    const auto predictor = paddle_infer::CreatePredictor(config);
    for (const Batch& batch : batches) run_batch(*predictor, batch);
  }

  // Gray images of the smallest, usual and largest shape. The usual one comes twice: Paddle tunes
  // for the most frequent length of each dimension, and among equals for the smallest.
  std::vector<Batch> examples() const {
    std::vector<Batch> batches;
    for (const size_t i : {0U, 1U, 1U, 2U}) {
      const std::vector<int> image = shapes().at("image")[i];
      Batch batch{image[0], image[2], image[3], {}, {}, {}};
      const auto count = static_cast<size_t>(image[0]);
      batch.image.resize(count * 3 * static_cast<size_t>(image[2]) * static_cast<size_t>(image[3]));
      for (size_t k = 0; k < count; ++k) {
        batch.im_shape.insert(batch.im_shape.end(),
                              {static_cast<float>(image[2]), static_cast<float>(image[3])});
        batch.scale_factor.insert(batch.scale_factor.end(), {1, 1});
      }
      batches.push_back(std::move(batch));
    }
    return batches;
  }

  // The file gets its name when all sizes were run: Paddle writes it after an error as well.
  void collect_shapes() {
    std::cerr << "TensorRT: collecting shapes into " << shapes_file().string() << ", once\n";
    const fs::path part = shapes_file().string() + ".part";
    fs::remove(part);
    paddle_infer::Config config = gpu_config(files_.graph, files_.params);
    config.CollectShapeRangeInfo(part.string());
    run_and_let_go(config, examples());
    if (!fs::exists(part)) {
      throw Error(shapes_file().string() +
                  ": Paddle did not write the shapes; use --run_mode paddle");
    }
    fs::rename(part, shapes_file());
  }

  static std::vector<fs::path> calibration_tables(const fs::path& folder) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.path().filename().string().rfind("trt_calib_", 0) == 0)
        found.push_back(entry.path());
    }
    return found;
  }

  // Paddle writes the table beside the graph, but reads it from the folder of SetOptimCacheDir: the
  // graph is copied and the table moved.
  void calibrate() {
    if (options_.calib_dir.empty()) {
      throw Error(
          "--run_mode trt_int8 needs --calib_dir on its first run: a folder of some hundred "
          "images like those to come (no calibration table in " +
          folder_.string() + " yet)");
    }
    std::vector<Sample> samples;
    for (const auto& entry : fs::recursive_directory_iterator(options_.calib_dir)) {
      if (samples.size() == kMostCalibrationImages || !entry.is_regular_file()) continue;
      try {
        samples.push_back(prepared(files_.config.preprocess, read_image(entry.path())));
      } catch (const ImageError&) {  // labels and other files lie beside images
        continue;
      }
    }
    const auto size = static_cast<size_t>(batch_);
    if (samples.size() < size) {
      throw Error("--calib_dir " + options_.calib_dir.string() + ": " +
                  std::to_string(samples.size()) + " images are fewer than --batch_size " +
                  std::to_string(size));
    }
    std::vector<Batch> batches;
    for (size_t i = 0; i + size <= samples.size(); i += size) {
      const auto first = samples.begin() + static_cast<std::ptrdiff_t>(i);
      batches.push_back(stacked({first, first + batch_}, batch_));
    }
    std::cerr << "TensorRT: calibrating on " << samples.size() << " images, once\n";
    const fs::path place = folder_ / "calibration";
    fs::remove_all(place);
    fs::create_directories(place);
    const fs::path graph = place / files_.graph.filename();
    fs::copy_file(files_.graph, graph);
    paddle_infer::Config config = gpu_config(graph, files_.params);
    ask_for_tensorrt(config, false);
    run_and_let_go(config, batches);
    for (const fs::path& table : calibration_tables(place))
      fs::rename(table, folder_ / table.filename());
    fs::remove_all(place);
    if (calibration_tables(folder_).empty()) {
      throw Error(folder_.string() +
                  ": Paddle wrote no calibration table; use --run_mode trt_fp16");
    }
  }

  const ModelFolder& files_;
  const Options& options_;
  std::string precision_;
  bool is_json_, is_open_;
  int batch_;
  bool needs_shapes_ = false;
  Json settings_;
  std::vector<std::string> outside_;
  fs::path folder_;
};

}  // namespace

paddle_infer::Config gpu_config(const fs::path& graph, const fs::path& params) {
  paddle_infer::Config config;
  config.SetModel(graph.string(), params.string());
  config.DisableGlogInfo();
  config.EnableUseGpu(kGpuMemoryMiB, 0);
  return config;
}

TensorRtPredictor tensorrt_predictor(const ModelFolder& files, const Options& options) {
  try {
    Setup setup(files, options);
    return {setup.build(), setup.fixed_batch()};
  } catch (const nlohmann::json::exception& error) {
    throw Error((files.path / kSettingsFile).string() + ": " + error.what());
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
}

}  // namespace ppdet
