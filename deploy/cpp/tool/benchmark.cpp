#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "tool.hpp"

namespace ppdet::tool {
namespace {

constexpr int kWarmUp = 3;  // runs that allocate memory and prepare kernels

// Of sorted values, with linear interpolation.
double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

int run_benchmark(Detector& detector, const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const fs::path path = images_of(arguments).front();
  const int batch = arguments.options.batch_size;
  std::array<std::vector<double>, 4> columns;
  for (int i = 0; i < kWarmUp + arguments.repeats && !interrupted; ++i) {
    std::array<Clock::time_point, 4> times{Clock::now()};
    std::vector<cv::Mat> images;
    for (int k = 0; k < batch; ++k) images.push_back(read_quietly(path));
    times[1] = Clock::now();
    std::vector<Sample> samples;
    for (const cv::Mat& image : images) samples.push_back(detector.preprocess(image));
    times[2] = Clock::now();
    detector.run(samples);
    times[3] = Clock::now();
    if (i < kWarmUp) continue;
    const auto ms = [&](size_t from, size_t to) {
      return std::chrono::duration<double, std::milli>(times[to] - times[from]).count();
    };
    for (size_t k = 0; k < 3; ++k) columns[k].push_back(ms(k, k + 1));
    columns[3].push_back(ms(0, 3));
  }
  if (interrupted) return kInterrupted;
  const int fixed = detector.fixed_batch();
  const std::string size = fixed == 0 || fixed == batch
                               ? "batch " + std::to_string(batch)
                               : std::to_string(batch) + " of a batch of " + std::to_string(fixed);
  std::printf("%s: %s, %d runs, %s, %s kernels\n", path.c_str(), size.c_str(), arguments.repeats,
              arguments.options.device.c_str(), detector.kernels().c_str());
  std::printf("%-24s%12s%12s%12s\n", "stage", "median ms", "p5 ms", "p95 ms");
  const char* const names[] = {"read and decode file", "preprocess", "network, decoding, NMS",
                               "total"};
  for (size_t i = 0; i < columns.size(); ++i) {
    std::printf("%-24s%12.2f%12.2f%12.2f\n", names[i], percentile(columns[i], 50),
                percentile(columns[i], 5), percentile(columns[i], 95));
  }
  std::printf("%.2f images/s\n", 1000 * batch / percentile(columns[3], 50));
  return 0;
}

}  // namespace ppdet::tool
