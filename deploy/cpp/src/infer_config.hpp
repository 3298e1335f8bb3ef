// The folder of an exported model and its infer_cfg.yml, by the rules of
// ppdet_lite/runtime/contract.py.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "preprocess.hpp"

namespace ppdet {

constexpr const char* kConfigFile = "infer_cfg.yml";
constexpr int kFormatVersion = 1;  // the highest format_version that is read
constexpr int kStride = 32;        // sides of the network's input are multiples of it

// SHA-256 in hexadecimal digits.
std::string sha256_of(const std::filesystem::path& path);
std::string sha256_of_text(const std::string& text);

struct FileFacts {
  std::uintmax_t size;
  std::string sha256;
};

struct InferConfig {
  std::vector<std::string> class_names;
  std::vector<Step> preprocess;
  double draw_threshold = 0.5;
  bool use_dynamic_shape = true;
  int min_subgraph_size = 3;
  std::string stage = "nms", target = "any";
  std::optional<std::array<int, 2>> input_hw;  // none where it is open, or not known
  int batch = 0;                               // the only number of images at once; 0: any
  std::optional<std::vector<std::int64_t>> category_ids;
  std::optional<std::vector<double>> thresholds;  // by class, the score with the best F1
  std::map<std::string, FileFacts> files;

  bool takes_any_size() const { return !input_hw && use_dynamic_shape; }

  // Throws Error for a file that cannot be read, and for keys that are missing or cannot be used.
  static InferConfig read(const std::filesystem::path& path);
};

struct ModelFolder {
  std::filesystem::path path, graph, params;  // params is empty where the graph holds its own
  InferConfig config;

  ModelFolder(const std::filesystem::path& folder, const std::string& engine,
              const std::string& precision, const std::vector<int>& input_size);

 private:
  void check_file(const std::filesystem::path& file) const;
};

}  // namespace ppdet
