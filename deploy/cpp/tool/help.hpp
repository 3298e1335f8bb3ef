#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ppdet::tool {

// Options in their groups, as Python's argparse prints them: names, and texts in a column.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
};

}  // namespace ppdet::tool
