#include <openssl/evp.h>

#include <fstream>
#include <memory>
#include <sstream>

#include "infer_config.hpp"
#include "ppdet/detector.hpp"

namespace ppdet {
namespace {

std::string digest_of(std::istream& stream) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> block(1 << 20);
  while (stream.read(block.data(), static_cast<std::streamsize>(block.size())) || stream.gcount()) {
    EVP_DigestUpdate(context.get(), block.data(), static_cast<size_t>(stream.gcount()));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &length);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    constexpr const char* digits = "0123456789abcdef";
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  return text;
}

}  // namespace

std::string sha256_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return digest_of(stream);
}

std::string sha256_of_text(const std::string& text) {
  std::istringstream stream(text);
  return digest_of(stream);
}

namespace {

using Names = std::vector<std::string>;

// Graphs of an engine, the first that exists is taken.
Names graph_names(const std::string& engine, const std::string& precision) {
  if (precision == "int8") return {"model_int8.xml"};
  if (precision == "fp16") return {"model_portable_fp16.onnx", "model_fp16.onnx"};
  return engine == "paddle" ? Names{"model.json", "model.pdmodel"}
                            : Names{"model_portable.onnx", "model.onnx"};
}

std::filesystem::path first_file(const std::filesystem::path& folder, const Names& names) {
  for (const std::string& name : names) {
    if (std::filesystem::is_regular_file(folder / name)) return folder / name;
  }
  return {};
}

std::filesystem::path find_graph(const std::filesystem::path& folder, const std::string& engine,
                                 const std::string& precision) {
  const Names names = graph_names(engine, precision);
  auto found = first_file(folder, names);
  if (!found.empty()) return found;
  std::string hint = "ppdet export writes one";
  if (engine == "openvino") hint += " with --format onnx --portable-dcn";
  const std::string other = engine == "paddle" ? "openvino" : "paddle";
  const auto theirs = first_file(folder, graph_names(other, "fp32"));
  if (precision == "int8") {
    hint = "ppdet quantize writes one";
  } else if (precision == "fp16") {
    hint += " --precision fp16";
  } else if (!theirs.empty()) {
    hint += "; this folder holds " + theirs.filename().string() + ", for --engine " + other;
  }
  throw Error("--model_dir " + folder.string() + ": no " + names[0] +
              (names.size() > 1 ? " and no " + names[1] : "") + " in it; " + hint);
}

}  // namespace

ModelFolder::ModelFolder(const std::filesystem::path& folder, const std::string& engine,
                         const std::string& precision, const std::vector<int>& input_size)
    : path(folder) {
  const std::string name = "--model_dir " + folder.string();
  if (!std::filesystem::is_directory(folder)) {
    throw Error(name + (std::filesystem::exists(folder) ? ": is a file, not a folder"
                                                        : ": no such folder"));
  }
  graph = find_graph(folder, engine, precision);
  if (engine == "paddle") params = folder / "model.pdiparams";
  if (precision == "int8") params = folder / "model_int8.bin";
  for (const auto& file : {params, folder / kConfigFile}) {
    if (!file.empty() && !std::filesystem::is_regular_file(file)) {
      throw Error(file.string() + ": missing; export the model again");
    }
  }
  config = InferConfig::read(folder / kConfigFile);
  check_file(graph);
  if (!params.empty()) check_file(params);
  if (!input_size.empty()) {
    if (!config.takes_any_size()) {
      throw Error("--input_size: " + graph.string() + " takes one size only, that of " +
                  kConfigFile + "; an export with the input size dynamic takes any");
    }
    for (const int side : input_size) {
      if (side < 1 || side % kStride != 0 || input_size.size() > 2) {
        throw Error("--input_size: found " + std::to_string(side) +
                    ", allowed: height and width, multiples of " + std::to_string(kStride));
      }
    }
    for (Step& step : config.preprocess) {
      if (auto* resize = std::get_if<ResizeStep>(&step)) {
        resize->height = input_size.front();
        resize->width = input_size.back();
      } else if (auto* pad = std::get_if<PadStep>(&step)) {
        pad->height = input_size.front();
        pad->width = input_size.back();
      } else if (auto* box = std::get_if<LetterboxStep>(&step)) {
        box->height = input_size.front();
        box->width = input_size.back();
      }
    }
  }
  try {
    check_size(config.preprocess, config.input_hw);
  } catch (const Error& error) {
    throw Error((folder / kConfigFile).string() + ": " + error.what());
  }
}

void ModelFolder::check_file(const std::filesystem::path& file) const {
  const auto facts = config.files.find(file.filename().string());
  if (facts == config.files.end()) return;
  std::string found;
  std::string allowed;
  if (const auto size = std::filesystem::file_size(file); size != facts->second.size) {
    found = std::to_string(size) + " bytes";
    allowed = std::to_string(facts->second.size) + " bytes";
  } else if (const std::string digest = sha256_of(file); digest != facts->second.sha256) {
    found = "SHA-256 " + digest.substr(0, 12) + "...";
    allowed = facts->second.sha256.substr(0, 12) + "...";
  } else {
    return;
  }
  throw Error(
      file.string() + ": found " + found + ", allowed: " + allowed + " (" + kConfigFile +
      ", files." + file.filename().string() +
      "); the file is damaged or from another export: copy the whole folder or export again");
}

}  // namespace ppdet
