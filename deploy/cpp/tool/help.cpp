#include "help.hpp"

#include <sstream>

namespace ppdet::tool {
namespace {

constexpr size_t kColumn = 26;  // where the texts begin
constexpr size_t kWidth = 96;

// Words in lines up to kWidth, the first of which begins at `at`, the others at `indent`.
std::string wrapped(const std::string& text, size_t at, size_t indent) {
  std::istringstream words(text);
  std::string lines;
  bool is_first = true;
  for (std::string word; words >> word;) {
    if (!is_first && at + 1 + word.size() > kWidth) {
      lines += "\n" + std::string(indent, ' ');
      at = indent;
    } else if (!is_first) {
      lines += " ";
      ++at;
    }
    lines += word;
    at += word.size();
    is_first = false;
  }
  return lines;
}

}  // namespace

std::string HelpFormatter::make_option(const CLI::Option* option, bool /*is_positional*/) const {
  std::string names = "  " + option->get_name(false, true);
  for (size_t at = names.find(",--"); at != std::string::npos; at = names.find(",--", at)) {
    names.replace(at, 1, ", ");
  }
  const std::string type = option->get_type_name();
  if (option->get_items_expected_max() > 0 && !type.empty()) {
    const std::string value = type.substr(0, type.find(':'));  // without the names of its checks
    names += option->get_items_expected_min() == 0 ? " [" + value + "]" : " " + value;
  }
  const bool is_long = names.size() + 2 > kColumn;
  const std::string gap =
      is_long ? "\n" + std::string(kColumn, ' ') : std::string(kColumn - names.size(), ' ');
  return names + gap + wrapped(option->get_description(), kColumn, kColumn) + "\n";
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode /*mode*/) const {
  std::string text = "usage: " + name + " ";
  text += "--model_dir FOLDER --image IMAGE ... [options]\n\n";
  text += wrapped(app->get_description(), 0, 0) + "\n";
  for (const std::string& group : app->get_groups()) {
    const auto options =
        app->get_options([&](const CLI::Option* option) { return option->get_group() == group; });
    if (group.empty() || options.empty()) continue;
    text += "\n" + group + ":\n";
    for (const CLI::Option* option : options) text += make_option(option, false);
  }
  return text + "\n" + app->get_footer() + "\n";
}

}  // namespace ppdet::tool
