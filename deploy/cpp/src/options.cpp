#include "options.hpp"

#include <algorithm>
#include <climits>
#include <functional>
#include <map>
#include <thread>

#include "yaml_value.hpp"

namespace ppdet {
namespace {

constexpr unsigned kUsefulThreads = 8;  // more seldom help a single image
constexpr int kMostThreads = 1024;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void check_choices(const Options& options) {
  const auto known = engines();
  if (std::find(known.begin(), known.end(), options.engine) == known.end()) {
    throw Error("--engine: found " + options.engine + ", allowed in this build: " + joined(known));
  }
  for (const auto& [name, value, allowed] :
       {std::tuple{"--device", options.device, std::vector<std::string>{"CPU", "GPU"}},
        std::tuple{"--precision", options.precision,
                   std::vector<std::string>{"fp32", "fp16", "int8"}},
        std::tuple{"--run_mode", options.run_mode,
                   std::vector<std::string>{"paddle", "trt_fp32", "trt_fp16", "trt_int8"}}}) {
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
      throw Error(std::string(name) + ": found " + value + ", allowed: " + joined(allowed));
    }
  }
}

void check_combinations(const Options& options) {
  if (options.engine == "openvino" && (options.device != "CPU" || options.run_mode != "paddle")) {
    throw Error("--device " + options.device + ", --run_mode " + options.run_mode +
                ": need --engine paddle");
  }
  if (options.precision != "fp32" && options.engine != "openvino") {
    throw Error("--precision " + options.precision +
                " needs --engine openvino; --engine paddle has --run_mode trt_" +
                options.precision);
  }
  if (options.run_mode != "paddle" && options.device != "GPU") {
    throw Error("--run_mode " + options.run_mode + " is TensorRT's: use --device GPU");
  }
  if (options.onednn_bfloat16) {
    std::vector<std::string> missing;
    if (options.engine != "paddle") missing.emplace_back("--engine paddle");
    if (options.device != "CPU") missing.emplace_back("--device CPU");
    if (!options.onednn) missing.emplace_back("--enable_mkldnn");
    if (!missing.empty()) throw Error("--enable_mkldnn_bfloat16 needs " + joined(missing));
  }
}

int whole_number(const Value& value) {
  const std::string allowed = "a whole number";
  const std::int64_t number = value.integer(allowed);
  if (number < INT_MIN || number > INT_MAX) value.refuse(allowed);
  return static_cast<int>(number);
}

}  // namespace

Options checked(Options options) {
  check_choices(options);
  check_combinations(options);
  if (options.threads < 0 || options.threads > kMostThreads) {
    throw Error("--cpu_threads: found " + std::to_string(options.threads) + ", allowed: 1 to " +
                std::to_string(kMostThreads));
  }
  if (options.batch_size < 1) {
    throw Error("--batch_size: found " + std::to_string(options.batch_size) +
                ", allowed: 1 or more");
  }
  if (options.threads == 0) {
    options.threads =
        static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, kUsefulThreads));
  }
  return options;
}

Options read_options(const std::string& text) {
  Options o;
  o.engine = engines().front();
  const std::map<std::string, std::function<void(const Value&)>> readers = {
      {"engine", [&](const Value& v) { o.engine = v.text(); }},
      {"precision", [&](const Value& v) { o.precision = v.text(); }},
      {"device", [&](const Value& v) { o.device = v.text(); }},
      {"run_mode", [&](const Value& v) { o.run_mode = v.text(); }},
      {"cpu_threads", [&](const Value& v) { o.threads = whole_number(v); }},
      {"batch_size", [&](const Value& v) { o.batch_size = whole_number(v); }},
      {"enable_mkldnn", [&](const Value& v) { o.onednn = v.boolean(); }},
      {"enable_mkldnn_bfloat16", [&](const Value& v) { o.onednn_bfloat16 = v.boolean(); }},
      {"input_size",
       [&](const Value& v) {
         const auto size = v.size();
         o.input_size = {size[0], size[1]};
       }},
      {"trt_cache_dir", [&](const Value& v) { o.cache_dir = v.text(); }},
      {"trt_min_shape", [&](const Value& v) { o.trt_sides[0] = whole_number(v); }},
      {"trt_opt_shape", [&](const Value& v) { o.trt_sides[1] = whole_number(v); }},
      {"trt_max_shape", [&](const Value& v) { o.trt_sides[2] = whole_number(v); }},
      {"calib_dir", [&](const Value& v) { o.calib_dir = v.text(); }},
  };
  try {
    const YAML::Node node = YAML::Load(text);
    if (node.IsDefined() && !node.IsNull() && !node.IsMap()) {
      throw Error(R"(options: found no mapping, allowed: {"engine": "paddle", ...})");
    }
    for (const auto& item : node) {
      const std::string name = item.first.IsScalar() ? item.first.Scalar() : "?";
      const auto reader = readers.find(name);
      if (reader == readers.end()) {
        std::vector<std::string> known;
        known.reserve(readers.size());
        for (const auto& entry : readers) known.push_back(entry.first);
        throw Error("options: found " + name + ", allowed: " + joined(known));
      }
      reader->second({item.second, "options." + name});
    }
  } catch (const YAML::Exception& error) {
    throw Error("options: neither JSON nor YAML (line " + std::to_string(error.mark.line + 1) +
                ": " + error.msg + ")");
  }
  return o;
}

}  // namespace ppdet
