// ppdet_infer: an exported model on images, videos, cameras and streams. Options, outputs and exit
// codes are those of deploy/python/infer.py.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "tool.hpp"

namespace ppdet::tool {

std::atomic<bool> interrupted{false};

namespace {

constexpr int kUserError = 2;

const char* const kExamples = R"(examples:
  ppdet_infer --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco --image demo.jpg
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --video_file street.mp4                          output/street.mp4 and a line of JSON a frame
  ... --camera_id 0 --max_frames 300                   Ctrl-C ends it as well, the video is whole
  ... --threshold 0.3 --save_results                   more detections; all of them in bbox.json
  ... --engine openvino                                the .onnx of --format onnx --portable-dcn
  ... --image demo.jpg --run_benchmark                 times of each stage

exit codes: 0; 2 for files, settings and devices that cannot be used; 130 after Ctrl-C)";

std::string joined_engines() {
  std::string text;
  for (const std::string& name : engines()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// `--name`, `--name true` and `--name False`.
void add_switch(CLI::App& app, const std::string& name, bool& value, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&value, name](const std::string& text) {
           const std::string word = CLI::detail::to_lower(text);
           if (!text.empty() && word != "true" && word != "false") {
             throw CLI::ValidationError(name + ": found " + text + ", allowed: true, false");
           }
           value = word != "false";
         },
         help)
      ->expected(0, 1)
      ->type_name("true|false");
}

const CLI::Range kPositive(1, 1000000);

// CLI11's ranges take NaN for a number inside of them.
std::string score_or_auto(const std::string& text) {
  double score = 0;
  const bool is_score = CLI::detail::lexical_cast(text, score) && score >= 0 && score <= 1;
  return is_score || text == "auto" ? "" : "found " + text + ", allowed: 0 to 1, auto";
}

void add_inputs(CLI::App& app, Arguments& a) {
  auto* group = app.add_option_group("input, one of");
  group->add_option("--image,--image_file,--infer_img", a.image_file, "one or more images")
      ->expected(1, -1)
      ->type_name("IMAGE");
  group->add_option("--image_dir,--infer_dir", a.image_dir, "all images below a folder")
      ->type_name("FOLDER");
  group->add_option("--video_file", a.video_file, "a video file")->type_name("VIDEO");
  group->add_option("--camera_id", a.camera_id, "number of a camera here, from 0")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  group->add_option("--rtsp", a.rtsp, "a stream: rtsp://..., or any other that OpenCV opens")
      ->type_name("URL");
  group->require_option(1);
  app.add_option("--max_frames", a.max_frames, "stop after N frames of a video, camera or stream")
      ->check(kPositive)
      ->type_name("N");
}

void add_results(CLI::App& app, Arguments& a) {
  app.add_option("--output_dir", a.output_dir, "results (default: output)")->type_name("FOLDER");
  app.add_option(
         "--threshold,--draw_threshold", a.threshold,
         "lowest score that is drawn and written (default: draw_threshold of infer_cfg.yml); auto: "
         "that of each class with the best F1, the thresholds of infer_cfg.yml")
      ->check(score_or_auto)
      ->type_name("SCORE|auto");
  add_switch(app, "--save_images", a.save_images,
             "false: no images and no video, JSON only (default: true)");
  add_switch(app, "--save_results", a.save_results,
             "also write <output_dir>/bbox.json: all detections in the COCO results format");
  app.add_option("--anno_path", a.anno_path,
                 "COCO annotations whose image ids bbox.json names (default: it counts from 0)")
      ->type_name("JSON");
  add_switch(app, "--run_benchmark", a.run_benchmark,
             "print the times of each stage for the first image instead of writing results");
  app.add_option("--repeats", a.repeats, "runs of the benchmark (default: 20)")
      ->check(kPositive)
      ->type_name("N");
}

void add_engines(CLI::App& app, Arguments& a) {
  Options& o = a.options;
  app.add_option("--engine", o.engine, "in this build: " + joined_engines())->type_name("NAME");
  app.add_option("--precision", o.precision,
                 "fp32, or int8 with --engine openvino: what ppdet quantize wrote")
      ->type_name("NAME");
  app.add_option("--device", o.device, "CPU or GPU (default: CPU)")
      ->transform([](std::string text) {
        for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return text;
      })
      ->type_name("DEVICE");
  app.add_option("--batch_size", o.batch_size, "images per run (default: 1)")
      ->check(kPositive)
      ->type_name("N");
  app.add_option("--input_size,--input-size", o.input_size,
                 "network input, for exports of --input-size dynamic")
      ->expected(1, 2)
      ->type_name("H W");
  app.add_option("--cpu_threads", o.threads, "CPU threads (default: one per core, at most 8)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  add_switch(app, "--enable_mkldnn", o.onednn, "oneDNN kernels on the CPU (default: on)");
  app.add_option("--run_mode", o.run_mode,
                 "paddle, trt_fp32, trt_fp16, trt_int8 (default: paddle, no TensorRT)")
      ->type_name("MODE");
  app.add_option("--trt_cache_dir", o.cache_dir,
                 "built engines and calibration tables (default: trt_cache in the model folder)")
      ->type_name("FOLDER");
  app.add_option("--trt_min_shape", o.trt_sides[0],
                 "smallest side of a model whose input size is open (default: 320)")
      ->check(kPositive)
      ->type_name("PX");
  app.add_option("--trt_opt_shape", o.trt_sides[1],
                 "side that such a model is tuned for (default: 640)")
      ->check(kPositive)
      ->type_name("PX");
  app.add_option("--trt_max_shape", o.trt_sides[2], "its largest side (default: 1280)")
      ->check(kPositive)
      ->type_name("PX");
  app.add_option("--calib_dir", o.calib_dir,
                 "images from which trt_int8 learns its value ranges on its first run")
      ->type_name("FOLDER");
}

void check(const Arguments& a) {
  const bool has_images = !a.image_file.empty() || !a.image_dir.empty();
  if (a.run_benchmark && !has_images) throw Error("--run_benchmark needs --image or --image_dir");
  if (!a.anno_path.empty() && !(has_images && a.save_results)) {
    throw Error("--anno_path needs --save_results, and --image or --image_dir");
  }
  if (a.max_frames > 0 && has_images)
    throw Error("--max_frames needs --video_file, --camera_id or --rtsp");
}

Threshold threshold_of(const Arguments& a, const Detector& detector) {
  if (a.threshold.empty()) return {static_cast<double>(detector.threshold())};
  if (a.threshold != "auto") return {std::stod(a.threshold)};
  if (!detector.thresholds() || detector.thresholds()->empty()) {
    throw Error("--threshold: found auto, but " + (a.model_dir / "infer_cfg.yml").string() +
                " has no thresholds; allowed: 0 to 1, or an export of weights of a training with "
                "evaluations");
  }
  return *detector.thresholds();
}

int run(Arguments& a) {
  check(a);
  const bool has_images = !a.image_file.empty() || !a.image_dir.empty();
  if (has_images) images_of(a);  // before the model, so that a wrong name costs no time
  Detector detector(a.model_dir, a.options);
  if (a.run_benchmark) return run_benchmark(detector, a);
  const Threshold threshold = threshold_of(a, detector);
  return has_images ? run_images(detector, a, threshold) : run_frames(detector, a, threshold);
}

void stop(int /*signal*/) {
  if (interrupted.exchange(true)) std::_Exit(kInterrupted);  // the second time at once
}

int parse_and_run(int argc, char** argv) {
  CLI::App app(
      "Runs an exported model of ppdet_lite on images, a video, a camera or a stream; draws what "
      "it finds and writes it as JSON.",
      "ppdet_infer");
  app.footer(kExamples);
  Arguments arguments;
  arguments.options.engine = engines().front();
  app.add_option("--model_dir", arguments.model_dir, "written by tools/export_model.py")
      ->required()
      ->type_name("FOLDER");
  add_inputs(app, arguments);
  add_results(app, arguments);
  add_engines(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw Error(std::string(error.what()) + " (ppdet_infer --help lists all options)");
  }
  const int code = run(arguments);
  if (code == kInterrupted) std::cerr << "interrupted\n";
  return code;
}

}  // namespace
}  // namespace ppdet::tool

int main(int argc, char** argv) {
  std::signal(SIGINT, ppdet::tool::stop);
  std::signal(SIGTERM, ppdet::tool::stop);
  try {
    return ppdet::tool::parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return ppdet::tool::kUserError;
  }
}
