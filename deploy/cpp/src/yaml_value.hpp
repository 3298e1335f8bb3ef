// A value of infer_cfg.yml that is read with checks.
#pragma once

#include <yaml-cpp/yaml.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ppdet/detector.hpp"

namespace ppdet {

constexpr double kMostPixels = 178956970;

// A node and its place in the file, which errors name.
struct Value {
  YAML::Node node;
  std::string key;

  [[noreturn]] void refuse(const std::string& allowed) const {
    std::string found = node.IsScalar() ? node.Scalar() : "";
    if (!node.IsDefined() || node.IsNull()) found = "null";
    if (node.IsSequence()) found = "a list of " + std::to_string(node.size());
    if (node.IsMap()) found = "a mapping";
    if (found.size() > 80) found = found.substr(0, 80) + " ...";
    throw Error(key + ": found " + found + ", allowed: " + allowed);
  }

  Value at(const std::string& name) const { return {node[name], key + "." + name}; }
  Value at(size_t index) const { return {node[index], key + "." + std::to_string(index)}; }

  std::string text(const std::string& allowed = "text") const {
    if (!node.IsScalar()) refuse(allowed);
    return node.Scalar();
  }
  double number(const std::string& allowed = "a number") const {
    double value = 0;
    // A number in quotes is text.
    const bool is_plain =
        node.IsScalar() && node.Tag() != "!" && YAML::convert<double>::decode(node, value);
    if (!is_plain || !std::isfinite(value)) refuse(allowed);
    return value;
  }
  std::int64_t integer(const std::string& allowed = "an integer") const {
    const double value = number(allowed);
    if (value != std::floor(value) || std::abs(value) > 9e15 ||
        node.Scalar().find('.') != std::string::npos) {
      refuse(allowed);
    }
    return static_cast<std::int64_t>(value);
  }
  bool boolean(const std::string& allowed = "true or false") const {
    static const std::map<std::string, bool> words = {{"true", true},   {"True", true},
                                                      {"false", false}, {"False", false},
                                                      {"1", true},      {"0", false}};
    const auto word = words.find(node.IsScalar() ? node.Scalar() : "");
    if (word == words.end()) refuse(allowed);
    return word->second;
  }
  std::vector<Value> list(const std::string& allowed = "a list") const {
    if (!node.IsSequence()) refuse(allowed);
    std::vector<Value> items;
    for (size_t i = 0; i < node.size(); ++i) items.push_back(at(i));
    return items;
  }
  // [height, width], or one number for both.
  std::array<int, 2> size() const {
    const std::string allowed = "a positive integer or [height, width]";
    std::vector<Value> sides = node.IsSequence() ? list() : std::vector<Value>{*this, *this};
    if (sides.size() != 2) refuse(allowed);
    const std::int64_t height = sides[0].integer(allowed);
    const std::int64_t width = sides[1].integer(allowed);
    if (height < 1 || width < 1 ||
        static_cast<double>(height) * static_cast<double>(width) > kMostPixels) {
      refuse(allowed);
    }
    return {static_cast<int>(height), static_cast<int>(width)};
  }
  std::array<double, 3> color(bool one_is_enough, bool divides) const {
    const std::string allowed =
        divides ? "three numbers (R, G, B) other than 0" : "three numbers (R, G, B) up to 1e6";
    std::array<double, 3> values{};
    if (one_is_enough && node.IsScalar()) {
      values.fill(number("one number or three (R, G, B)"));
      return values;
    }
    const auto items = list(allowed);
    if (items.size() != 3) refuse(allowed);
    for (size_t i = 0; i < 3; ++i) {
      values[i] = items[i].number(allowed);
      if (std::abs(values[i]) > 1e6 || (divides && std::abs(values[i]) < 1e-6)) refuse(allowed);
    }
    return values;
  }
};

}  // namespace ppdet
