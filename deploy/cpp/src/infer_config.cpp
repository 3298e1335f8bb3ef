#include "infer_config.hpp"

#include <algorithm>
#include <functional>
#include <set>

#include "yaml_value.hpp"

namespace ppdet {
namespace {

constexpr std::uintmax_t kMostBytes = 64 << 20;  // of infer_cfg.yml
constexpr int kMostBatch = 1024;

using Readers = std::map<std::string, std::function<void(const Value&)>>;

// Reads the keys of one entry of Preprocess; `required` must be there, unknown ones are refused.
void read_keys(const Value& entry, const std::string& kind, const Readers& readers,
               const std::string& required = "") {
  std::string known;
  for (const auto& reader : readers) known += (known.empty() ? "" : ", ") + reader.first;
  for (const auto& item : entry.node) {
    const std::string name = item.first.IsScalar() ? item.first.Scalar() : "?";
    if (name == "type") continue;
    const auto reader = readers.find(name);
    if (reader == readers.end()) {
      throw Error(entry.key + " (" + kind + "): unknown key '" + name +
                  "'; allowed: " + (known.empty() ? "none" : known));
    }
    reader->second({item.second, "Preprocess." + kind + "." + name});
  }
  if (!required.empty() && !entry.node[required].IsDefined()) {
    throw Error(entry.key + " (" + kind + "): the key '" + required + "' is missing");
  }
}

// A step with the size and the color of a canvas.
template <typename CanvasStep>
Step read_canvas(const Value& entry, const std::string& kind, const std::string& size_key) {
  CanvasStep step;
  const auto size = [&](const Value& v) {
    step.height = v.size()[0];
    step.width = v.size()[1];
  };
  const auto fill = [&](const Value& v) {
    step.fill = v.color(true, false);
    for (double& value : step.fill) value = std::clamp(std::floor(value + 0.5), 0.0, 255.0);
  };
  read_keys(entry, kind, {{size_key, size}, {"fill_value", fill}}, size_key);
  return step;
}

Step read_step(const Value& entry, const std::string& kind) {
  if (kind == "Resize") {
    ResizeStep step;
    const auto interp = [&](const Value& v) {
      const std::string allowed = "0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos";
      const std::int64_t number = v.integer(allowed);
      if (number < 0 || number > 4) v.refuse(allowed);
      step.interp = static_cast<int>(number);
    };
    const auto size = [&](const Value& v) {
      step.height = v.size()[0];
      step.width = v.size()[1];
    };
    read_keys(entry, kind,
              {{"target_size", size},
               {"keep_ratio", [&](const Value& v) { step.keep_ratio = v.boolean(); }},
               {"interp", interp}},
              "target_size");
    return step;
  }
  if (kind == "Pad") return read_canvas<PadStep>(entry, kind, "size");
  if (kind == "CornerLetterbox") return read_canvas<LetterboxStep>(entry, kind, "target_size");
  if (kind == "ToBGR") {
    read_keys(entry, kind, {});
    return ToBgrStep{};
  }
  if (kind == "NormalizeImage") {
    NormalizeStep step;
    bool is_plain = false;
    const auto norm_type = [&](const Value& v) {
      const std::string word = v.text();
      if (word != "mean_std" && word != "none") v.refuse("mean_std, none");
      is_plain = word == "none";
    };
    read_keys(entry, kind,
              {{"mean", [&](const Value& v) { step.mean = v.color(false, false); }},
               {"std", [&](const Value& v) { step.std = v.color(false, true); }},
               {"is_scale", [&](const Value& v) { step.is_scale = v.boolean(); }},
               {"norm_type", norm_type}});
    if (is_plain) {
      step.mean = {0, 0, 0};
      step.std = {1, 1, 1};
    }
    return step;
  }
  read_keys(entry, kind, {});
  return PermuteStep{};
}

std::vector<Step> read_steps(const Value& entries) {
  static const std::map<std::string, int> places = {{"Resize", 0},          {"Pad", 0},
                                                    {"CornerLetterbox", 0}, {"ToBGR", 1},
                                                    {"NormalizeImage", 2},  {"Permute", 3}};
  std::vector<Step> steps;
  std::string previous = "Resize";
  for (const Value& entry : entries.list()) {
    const std::string kind =
        entry.node.IsMap() && entry.node["type"].IsScalar() ? entry.node["type"].Scalar() : "";
    const auto place = places.find(kind);
    if (place == places.end()) {
      throw Error(entry.key + ".type: found '" + kind +
                  "', allowed: CornerLetterbox, NormalizeImage, Pad, Permute, Resize, ToBGR");
    }
    if (place->second < places.at(previous) || (place->second > 0 && kind == previous)) {
      throw Error(entry.key + " (" + kind + "): found after " + previous +
                  ", allowed: Resize, Pad and CornerLetterbox in any order, then ToBGR, then "
                  "NormalizeImage, then Permute");
    }
    steps.push_back(read_step(entry, kind));
    previous = kind;
  }
  return steps;
}

void read_settings(const Value& file, InferConfig& config) {
  const auto optional = [&](const std::string& name,
                            const std::function<void(const Value&)>& read) {
    const YAML::Node node = file.node[name];
    if (node.IsDefined() && !node.IsNull()) read({node, name});
  };
  const auto one_of = [](const Value& v, const std::set<std::string>& words,
                         const std::string& allowed) {
    std::string word = v.text(allowed);
    if (words.count(word) == 0) v.refuse(allowed);
    return word;
  };
  optional("format_version", [](const Value& v) {
    if (v.integer("1 or more") < 1) v.refuse("1 or more");
    if (v.integer() > kFormatVersion) {
      throw Error("format_version: found " + v.node.Scalar() + ", allowed: up to " +
                  std::to_string(kFormatVersion) +
                  "; use the ppdet_infer of the ppdet_lite that exported it");
    }
  });
  optional("draw_threshold", [&](const Value& v) {
    const double value = v.number("0 to 1");
    if (value < 0 || value > 1) v.refuse("0 to 1");
    config.draw_threshold = value;
  });
  optional("use_dynamic_shape", [&](const Value& v) { config.use_dynamic_shape = v.boolean(); });
  optional("min_subgraph_size", [&](const Value& v) {
    const std::int64_t size = v.integer("1 or more");
    if (size < 1 || size > INT32_MAX) v.refuse("1 or more");
    config.min_subgraph_size = static_cast<int>(size);
  });
  optional("stage", [&](const Value& v) {
    config.stage =
        one_of(v, {"raw", "decoded", "nms", "nms_fixed"}, "raw, decoded, nms, nms_fixed");
  });
  optional("target", [&](const Value& v) {
    config.target = one_of(v, {"any", "cpu"}, "any, cpu");
  });
  optional("image_shape", [&](const Value& v) {
    const std::string allowed = "[3, height, width], -1 for any";
    const auto sides = v.list(allowed);
    if (sides.size() != 3 || sides[0].integer(allowed) != 3) v.refuse(allowed);
    const std::int64_t height = sides[1].integer(allowed);
    const std::int64_t width = sides[2].integer(allowed);
    for (const std::int64_t side : {height, width}) {
      if ((side < 1 && side != -1) || side > INT32_MAX) v.refuse(allowed);
    }
    if (height > 0 && width > 0) {
      config.input_hw = {static_cast<int>(height), static_cast<int>(width)};
    }
  });
  optional("batch_size", [&](const Value& v) {
    const std::string allowed = "1 to " + std::to_string(kMostBatch) + ", or -1 for any";
    const std::int64_t batch = v.integer(allowed);
    if (batch != -1 && (batch < 1 || batch > kMostBatch)) v.refuse(allowed);
    config.batch = batch == -1 ? 0 : static_cast<int>(batch);
  });
  optional("category_ids", [&](const Value& v) {
    const std::string allowed = std::to_string(config.class_names.size()) +
                                " whole numbers, one for each entry of label_list";
    std::vector<std::int64_t> ids;
    for (const Value& id : v.list(allowed)) ids.push_back(id.integer(allowed));
    if (ids.size() != config.class_names.size()) v.refuse(allowed);
    config.category_ids = ids;
  });
  optional("thresholds", [&](const Value& v) {
    const std::string allowed = std::to_string(config.class_names.size()) +
                                " scores from 0 to 1, one for each entry of label_list";
    std::vector<double> scores;
    for (const Value& score : v.list(allowed)) {
      scores.push_back(score.number(allowed));
      if (scores.back() < 0 || scores.back() > 1) score.refuse(allowed);
    }
    if (scores.size() != config.class_names.size()) v.refuse(allowed);
    config.thresholds = scores;
  });
  for (const char* name : {"fp16", "int8"}) {  // remarks of those who wrote these files
    optional(name, [](const Value& v) {
      if (!v.node.IsMap()) v.refuse("a mapping");
    });
  }
  optional("files", [&](const Value& v) {
    const std::string allowed = "size and sha256 (64 digits) of files";
    if (!v.node.IsMap()) v.refuse(allowed);
    for (const auto& item : v.node) {
      const Value facts{item.second, "files." + item.first.Scalar()};
      if (!facts.node.IsMap()) facts.refuse(allowed);
      const std::int64_t size = facts.at("size").integer(allowed);
      const std::string digest = facts.at("sha256").text(allowed);
      const bool is_digest =
          digest.size() == 64 && digest.find_first_not_of("0123456789abcdef") == std::string::npos;
      if (size < 0 || !is_digest) facts.refuse(allowed);
      config.files[item.first.Scalar()] = {static_cast<std::uintmax_t>(size), digest};
    }
  });
}

}  // namespace

InferConfig InferConfig::read(const std::filesystem::path& path) {
  std::error_code failed;
  if (std::filesystem::file_size(path, failed) > kMostBytes || failed) {
    throw Error(path.string() + ": cannot be read, or larger than 64 MiB");
  }
  try {
    InferConfig config;
    const Value file{YAML::LoadFile(path.string()), kConfigFile};
    for (const char* name : {"Preprocess", "label_list"}) {
      if (!file.node.IsMap() || !file.node[name].IsDefined() || !file.node[name].IsSequence()) {
        throw Error("the list '" + std::string(name) + "' is missing; export the model again");
      }
    }
    for (const Value& name : Value{file.node["label_list"], "label_list"}.list()) {
      config.class_names.push_back(name.text());
    }
    config.preprocess = read_steps({file.node["Preprocess"], "Preprocess"});
    read_settings(file, config);
    return config;
  } catch (const YAML::Exception& error) {
    throw Error(path.string() + ": not a YAML file (line " + std::to_string(error.mark.line + 1) +
                ": " + error.msg + ")");
  } catch (const Error& error) {
    throw Error(path.string() + ": " + error.what());
  }
}

}  // namespace ppdet
