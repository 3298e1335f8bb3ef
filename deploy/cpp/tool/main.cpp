// ppdet_infer: an exported model on images, videos, cameras and streams. Options, outputs and exit
// codes are those of deploy/python/infer.py.
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <opencv2/core/utils/logger.hpp>
#include <sstream>

#include "quiet.hpp"
#include "tool.hpp"

namespace ppdet::tool {

std::atomic<bool> interrupted{false};

namespace {

constexpr int kUserError = 2;

Detector opened(const Arguments& arguments) {
  std::optional<NoStandardError> quiet;
  if (arguments.options.engine == "openvino") quiet.emplace();  // its parsers of damaged files
  return Detector(arguments.model_dir, arguments.options);
}

// Prints what the engine has switched off, from the remark `from` on; returns how many there are.
size_t print_remarks(const Detector& detector, size_t from = 0) {
  const auto remarks = detector.remarks();
  for (size_t i = from; i < remarks.size(); ++i) std::cerr << remarks[i] << "\n";
  return remarks.size();
}

int work(Detector& detector, const Arguments& arguments) {
  if (arguments.run_benchmark) return run_benchmark(detector, arguments);
  const Selection selection = selection_of(arguments, detector);
  return arguments.has_images() ? run_images(detector, arguments, selection)
                                : run_frames(detector, arguments, selection);
}

int run(const Arguments& arguments) {
  if (arguments.has_images()) images_of(arguments);  // before the model: a wrong name costs no time
  Detector detector = opened(arguments);
  const size_t printed = print_remarks(detector);
  const int code = work(detector, arguments);
  print_remarks(detector, printed);
  return code;
}

int parse_and_run(int argc, char** argv) {
  const auto arguments = parsed(argc, argv);
  if (!arguments) return 0;
  const int code = run(*arguments);
  if (code == kInterrupted) std::cerr << "interrupted\n";
  return code;
}

// Prints a message of a library on one line.
int refuse(const std::string& message) {
  std::istringstream words(message);
  std::cerr << "error:";
  for (std::string word; words >> word;) std::cerr << " " << word;
  std::cerr << "\n";
  return kUserError;
}

void stop(int /*signal*/) {
  if (interrupted.exchange(true)) std::_Exit(kInterrupted);  // the second time at once
}

}  // namespace
}  // namespace ppdet::tool

int main(int argc, char** argv) {
  std::signal(SIGINT, ppdet::tool::stop);
  std::signal(SIGTERM, ppdet::tool::stop);
  // Lines of OpenCV and FFmpeg repeat what is refused here, and addresses with their passwords.
  cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);
  try {
    return ppdet::tool::parse_and_run(argc, argv);
  } catch (const ppdet::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return ppdet::tool::kUserError;
  } catch (const std::filesystem::filesystem_error& error) {
    return ppdet::tool::refuse(error.path1().string() + ": " + error.code().message());
  } catch (const std::exception& error) {
    return ppdet::tool::refuse(error.what());
  }
}
