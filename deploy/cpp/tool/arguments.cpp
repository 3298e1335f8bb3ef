#include <algorithm>
#include <cctype>
#include <iostream>
#include <map>

#include "help.hpp"
#include "tool.hpp"

namespace ppdet::tool {
namespace {

const char* const kExamples = R"(examples:
  ppdet_infer --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco --image demo.jpg
  ... --image_dir photos --output_dir output/photos    a folder with its sub-folders
  ... --video_file street.mp4                          output/street.mp4 and a line of JSON a frame
  ... --camera_id 0 --max_frames 300                   Ctrl-C ends it as well, the video is whole
  ... --rtsp rtsp://user:password@10.0.0.7/stream1     a network camera
  ... --threshold 0.3 --save_results                   more detections; all of them in bbox.json
  ... --classes person car --crop                      two classes; each object as an image, too
  ... --engine openvino --precision int8               the file of ppdet quantize
  ... --device GPU --run_mode trt_fp16 --batch_size 8  TensorRT; its engine is built once
  ... --image demo.jpg --run_benchmark                 times of each stage

exit codes: 0; 2 for files, settings and devices that cannot be used; 130 after Ctrl-C)";

const CLI::Range kPositive(1, 1000000);
const std::vector<std::string> kPythonEngines = {"onnxruntime", "tensorrt", "tensorrt_rtx"};

std::string joined_engines() {
  std::string text;
  for (const std::string& name : engines()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// `--name`, `--name true` and `--name False`.
CLI::Option* add_switch(CLI::App& app, const std::string& name, bool& value,
                        const std::string& help) {
  return app
      .add_option_function<std::string>(
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

// CLI11's ranges take NaN for a number inside of them.
std::string score_or_auto(const std::string& text) {
  double score = 0;
  const bool is_score = CLI::detail::lexical_cast(text, score) && score >= 0 && score <= 1;
  return is_score || text == "auto" ? "" : "found " + text + ", allowed: 0 to 1, auto";
}

std::string known_engine(const std::string& text) {
  if (std::find(kPythonEngines.begin(), kPythonEngines.end(), text) == kPythonEngines.end()) {
    return "";  // the library says the rest
  }
  return "found " + text + ", allowed in this build: " + joined_engines() + "; " + text +
         " is in deploy/python only";
}

void add_inputs(CLI::App& app, Arguments& a) {
  const char* const group = "input, one of";
  app.add_option("--image,--image_file,--infer_img", a.image_file, "one or more images")
      ->expected(1, -1)
      ->type_name("IMAGE [IMAGE ...]")
      ->group(group);
  app.add_option("--image_dir,--infer_dir", a.image_dir,
                 "all images of a folder and its sub-folders")
      ->type_name("FOLDER")
      ->group(group);
  app.add_option("--video_file", a.video_file, "a video file")->type_name("VIDEO")->group(group);
  app.add_option("--camera_id", a.camera_id, "number of a camera here, from 0")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->group(group);
  app.add_option("--rtsp", a.rtsp, "a stream: rtsp://..., or any other that OpenCV opens")
      ->type_name("URL")
      ->group(group);
  app.add_option("--max_frames", a.max_frames, "stop after N frames of a video, camera or stream")
      ->check(kPositive)
      ->type_name("N")
      ->group(group);
}

void add_results(CLI::App& app, Arguments& a) {
  const char* const group = "results";
  app.add_option("--output_dir", a.output_dir, "results (default: output)")
      ->type_name("FOLDER")
      ->group(group);
  app.add_option(
         "--threshold,--draw_threshold", a.threshold,
         "lowest score that is drawn and written (default: draw_threshold of infer_cfg.yml); auto: "
         "that of each class with the best F1, the thresholds of infer_cfg.yml")
      ->check(score_or_auto)
      ->type_name("SCORE|auto")
      ->group(group);
  add_switch(app, "--save_images", a.save_images,
             "false: no images and no video, JSON only (default: true)")
      ->group(group);
  add_switch(app, "--save_results", a.save_results,
             "also write <output_dir>/bbox.json: all detections in the COCO results format")
      ->group(group);
  app.add_option("--anno_path", a.anno_path,
                 "COCO annotations whose image ids bbox.json names (default: it counts from 0)")
      ->type_name("JSON")
      ->group(group);
  add_switch(app, "--run_benchmark", a.run_benchmark,
             "print the times of each stage for the first image instead of writing results")
      ->group(group);
  app.add_option("--repeats", a.repeats, "runs of the benchmark (default: 20)")
      ->check(kPositive)
      ->type_name("N")
      ->group(group);
}

void add_drawing(CLI::App& app, Arguments& a) {
  const char* const group = "drawing";
  app.add_option("--classes", a.classes,
                 "only these classes, by name or number from 0; nothing of others is drawn or "
                 "written")
      ->expected(1, -1)
      ->type_name("NAME [NAME ...]")
      ->group(group);
  app.add_flag_callback(
         "--hide_labels", [&a] { a.style.labels = false; }, "boxes without names and scores")
      ->group(group);
  app.add_flag_callback(
         "--hide_scores", [&a] { a.style.scores = false; }, "names without scores")
      ->group(group);
  app.add_flag("--numbers", a.style.numbers,
               "a number beside each box, and a list of names and scores at the right of the image")
      ->group(group);
  app.add_flag("--crop", a.crop,
               "also write every object as an image of its own: "
               "<output_dir>/crops/CLASS/IMAGE_1.jpg")
      ->group(group);
}

void add_engines(CLI::App& app, Arguments& a) {
  const char* const group = "device and engine";
  Options& o = a.options;
  app.add_option("--engine", o.engine,
                 "in this build: " + joined_engines() + " (default: " + o.engine +
                     "); paddle runs model.json or model.pdmodel, openvino the .onnx. "
                     "onnxruntime, tensorrt and tensorrt_rtx, and with them --provider, "
                     "--cuda_graph and --tf32, are in deploy/python only")
      ->check(known_engine)
      ->type_name("NAME")
      ->group(group);
  app.add_option_function<std::string>(
         "--use_openvino",
         [&o, &app](const std::string& text) {
           if (CLI::detail::to_lower(text) == "false") return;
           if (app.count("--engine") > 0 && app["--engine"]->as<std::string>() != "openvino") {
             throw Error("--use_openvino and --engine " + app["--engine"]->as<std::string>() +
                         ": give one of them");
           }
           o.engine = "openvino";
         },
         "the same as --engine openvino")
      ->expected(0, 1)
      ->type_name("true|false")
      ->group(group);
  app.add_option("--precision", o.precision,
                 "fp32 (default) or, with --engine openvino, fp16: the .onnx that ppdet export "
                 "--precision fp16 wrote, and int8: what ppdet quantize wrote")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--device", o.device, "CPU or GPU (default: CPU)")
      ->transform([](std::string text) {
        for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return text;
      })
      ->type_name("DEVICE")
      ->group(group);
  app.add_option("--batch_size", o.batch_size, "images per run (default: 1)")
      ->check(kPositive)
      ->type_name("N")
      ->group(group);
  app.add_option("--input_size,--input-size", o.input_size,
                 "network input, for exports of --input-size dynamic (one number: both; default: "
                 "that of infer_cfg.yml)")
      ->expected(1, 2)
      ->type_name("H [W]")
      ->group(group);
  app.add_option("--cpu_threads", o.threads, "CPU threads (default: one per core, at most 8)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->group(group);
  add_switch(app, "--enable_mkldnn", o.onednn, "oneDNN kernels on the CPU (default: on)")
      ->group(group);
  app.add_flag_callback(
         "--no-mkldnn", [&o] { o.onednn = false; }, "without oneDNN kernels")
      ->group(group);
  add_switch(app, "--enable_mkldnn_bfloat16", o.onednn_bfloat16,
             "oneDNN in bfloat16, on CPUs with instructions for it (default: off)")
      ->group(group);
}

void add_tensorrt(CLI::App& app, Options& o) {
  const char* const group = "TensorRT, with --engine paddle --device GPU";
  app.add_option("--run_mode", o.run_mode,
                 "paddle, trt_fp32, trt_fp16, trt_int8 (default: paddle, no TensorRT)")
      ->type_name("MODE")
      ->group(group);
  app.add_option("--trt_cache_dir", o.cache_dir,
                 "built engines and calibration tables (default: trt_cache in the model folder)")
      ->type_name("FOLDER")
      ->group(group);
  app.add_option("--calib_dir", o.calib_dir,
                 "images from which trt_int8 learns its value ranges on its first run")
      ->type_name("FOLDER")
      ->group(group);
  const std::array<std::array<const char*, 2>, 3> sides = {{
      {"--trt_min_shape", "smallest side of a model whose input size is open (default: 320)"},
      {"--trt_opt_shape", "side that such a model is tuned for (default: 640)"},
      {"--trt_max_shape", "its largest side (default: 1280)"},
  }};
  for (size_t i = 0; i < sides.size(); ++i) {
    app.add_option(sides[i][0], o.trt_sides[i], sides[i][1])
        ->check(kPositive)
        ->type_name("PX")
        ->group(group);
  }
}

// Options of engines that only Python has, refused by name.
void add_refused(CLI::App& app) {
  for (const std::string name : {"--provider", "--cuda_graph", "--tf32"}) {
    app.add_option_function<std::string>(
           name,
           [name](const std::string& /*text*/) {
             throw Error(name +
                         " is an option of engines in deploy/python only; "
                         "engines of this build: " +
                         joined_engines());
           })
        ->expected(0, 1)
        ->group("");
  }
}

void check(const CLI::App& app, const Arguments& a) {
  std::vector<std::string> given;
  for (const char* name : {"--image", "--image_dir", "--video_file", "--camera_id", "--rtsp"}) {
    if (app.count(name) > 0) given.emplace_back(name);
  }
  if (given.empty()) {
    throw Error(
        "one of --image, --image_dir, --video_file, --camera_id, --rtsp is required (ppdet_infer "
        "--help lists all options)");
  }
  if (given.size() > 1) throw Error(given[0] + " and " + given[1] + ": give one of them");
  if (a.run_benchmark && !a.has_images()) {
    throw Error("--run_benchmark needs --image or --image_dir");
  }
  if (!a.anno_path.empty() && !(a.has_images() && a.save_results)) {
    throw Error("--anno_path needs --save_results, and --image or --image_dir");
  }
  if (a.max_frames > 0 && a.has_images()) {
    throw Error("--max_frames needs --video_file, --camera_id or --rtsp");
  }
  if (a.crop && !a.has_images()) throw Error("--crop needs --image or --image_dir");
  if (a.style.numbers && !a.has_images()) {  // the list would make frames as wide as its texts
    throw Error("--numbers needs --image or --image_dir");
  }
}

std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

std::optional<Arguments> parsed(int argc, char** argv) {
  CLI::App app(
      "Runs an exported model of ppdet_lite on images, a video, a camera or a stream; draws what "
      "it finds and writes it as JSON.",
      "ppdet_infer");
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kExamples);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_help_flag("-h,--help", "show this help message and exit")->group("options");
  Arguments arguments;
  arguments.options.engine = engines().front();
  app.add_option("--model_dir", arguments.model_dir, "written by ppdet export (required)")
      ->required()
      ->type_name("FOLDER")
      ->group("options");
  add_inputs(app, arguments);
  add_results(app, arguments);
  add_drawing(app, arguments);
  add_engines(app, arguments);
  add_tensorrt(app, arguments.options);
  add_refused(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help() << std::flush;
    return {};
  } catch (const CLI::ExtrasError&) {
    const std::string found = app.remaining().empty() ? "" : app.remaining().front();
    throw Error("unrecognized arguments: " + found +
                nearest_hint(found.substr(0, found.find('=')), long_names(app)) +
                " (ppdet_infer --help lists all options)");
  } catch (const CLI::ParseError& error) {
    throw Error(std::string(error.what()) + " (ppdet_infer --help lists all options)");
  }
  check(app, arguments);
  return arguments;
}

}  // namespace ppdet::tool
