// The nearest of some names, as Python's difflib.get_close_matches finds it.
#include <algorithm>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr double kLeast = 0.6;  // of the similarity, 1 for equal texts

// Letters that both texts share: in their longest common part, and left and right of it again.
size_t shared(const std::string& a, const std::string& b) {
  size_t best = 0;
  size_t start_a = 0;
  size_t start_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < b.size(); ++k) {
      size_t length = 0;
      while (i + length < a.size() && k + length < b.size() && a[i + length] == b[k + length]) {
        ++length;
      }
      if (length > best) {
        best = length;
        start_a = i;
        start_b = k;
      }
    }
  }
  if (best == 0) return 0;
  return best + shared(a.substr(0, start_a), b.substr(0, start_b)) +
         shared(a.substr(start_a + best), b.substr(start_b + best));
}

}  // namespace

std::string nearest_hint(const std::string& found, const std::vector<std::string>& allowed) {
  std::string nearest;
  double best = kLeast;
  for (const std::string& name : allowed) {
    const auto letters = static_cast<double>(name.size() + found.size());
    const double ratio = 2 * static_cast<double>(shared(name, found)) / std::max(letters, 1.0);
    if (ratio > best || (nearest.empty() && ratio >= best)) {
      best = ratio;
      nearest = name;
    }
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

}  // namespace ppdet::tool
