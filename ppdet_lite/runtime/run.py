"""What infer.py does once its command line is parsed."""

import sys
import time
from pathlib import Path

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.tensorrt.setup import TensorRTOptions
from ppdet_lite.utils.detect_files import detect_and_save
from ppdet_lite.utils.image_files import list_images


def run(args) -> None:
    """Detects on the input that `args` (of infer_options) names and writes the results.

    Raises:
        UserError: files, devices or packages that are missing or cannot be used, each named.
    """
    _check(args)
    if args.image_file or args.image_dir:
        images = _images(args)
        detector = _detector(args)
        if args.run_benchmark:
            from ppdet_lite.runtime.stage_times import benchmark

            print(benchmark(detector, images[0], args.repeats, args.batch_size))
            return
        _run_images(args, detector, images)
        return
    source = _open_source(args)  # before the model, so that a closed camera costs no time
    detector = _detector(args, own_process=True)
    try:
        _run_frames(args, detector, source)
    finally:
        detector.close()


def _check(args) -> None:
    """Refuses a wrong threshold, and options of which nothing would come.

    Raises:
        ConfigError: names them.
    """
    threshold = args.threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"--threshold: found {threshold}, allowed: 0 to 1")
    has_images = bool(args.image_file or args.image_dir)
    if args.run_benchmark and not has_images:
        raise ConfigError("--run_benchmark needs --image_file or --image_dir")
    if args.max_frames is not None and has_images:
        raise ConfigError("--max_frames needs --video_file, --camera_id or --rtsp")
    if args.use_openvino and args.engine not in (None, "openvino"):
        raise ConfigError(f"--use_openvino and --engine {args.engine}: give one of them")


def _detector(args, own_process: bool = False) -> Detector:
    options = TensorRTOptions(
        Path(args.trt_cache_dir) if args.trt_cache_dir else None,
        Path(args.calib_dir) if args.calib_dir else None,
        None,
        args.trt_min_shape,
        args.trt_opt_shape,
        args.trt_max_shape,
    )
    return Detector(
        args.model_dir,
        args.device,
        args.run_mode,
        args.cpu_threads,
        args.enable_mkldnn,
        args.enable_mkldnn_bfloat16,
        "openvino" if args.use_openvino else args.engine or "paddle",
        options,
        args.batch_size,
        own_process,
        args.input_size,
    )


# --------------------------------------------------------------------------------------- images
def _images(args) -> list[Path]:
    if args.image_dir:
        return list_images(args.image_dir, skip=args.output_dir)
    images = [Path(path) for path in args.image_file]
    for image in images:
        if not image.is_file():
            reason = "is a folder: use --image_dir" if image.is_dir() else "no such image"
            raise DataError(f"--image_file {image}: {reason}")
    return images


def _run_images(args, detector: Detector, images: list[Path]) -> None:
    detect_and_save(
        detector.predict,
        decode_image,
        images,
        root=Path(args.image_dir) if args.image_dir else None,
        output_dir=args.output_dir,
        class_names=detector.class_names,
        threshold=detector.threshold if args.threshold is None else args.threshold,
        batch_size=args.batch_size,
        save_images=args.save_images,
        save_results=args.save_results,
        category_ids=detector.category_ids,
    )


# ----------------------------------------------------------------------------------------- frames
def _open_source(args):
    from ppdet_lite.runtime.frames.results import check_not_the_input
    from ppdet_lite.runtime.frames.sources import open_camera, open_stream, open_video

    if args.video_file:
        check_not_the_input(Path(args.video_file), args.output_dir)
        return open_video(args.video_file, args.max_frames)
    if args.camera_id is not None:
        return open_camera(args.camera_id, args.max_frames)
    return open_stream(args.rtsp, args.max_frames)


def _run_frames(args, detector: Detector, source) -> None:
    from ppdet_lite.runtime.frames.pipeline import FramePipeline
    from ppdet_lite.runtime.frames.results import FrameResults

    threshold = detector.threshold if args.threshold is None else args.threshold
    results = FrameResults(
        source,
        args.output_dir,
        detector.class_names,
        threshold,
        args.save_images,
        args.save_results,
        detector.category_ids,
    )
    pipeline = FramePipeline(
        source, detector.preprocess, detector.run, results.write, args.batch_size, source.is_live
    )
    start, is_over = time.perf_counter(), False
    try:
        pipeline.run()
        is_over = True
    finally:  # after Ctrl-C and errors too, so that what was written can be played
        written = results.close()
        seconds = time.perf_counter() - start
        skipped = f", {pipeline.skipped} skipped" if pipeline.skipped else ""
        print(
            f"{source.name}: {results.count} frames{skipped}, {results.detections} detections, "
            f"{results.count / seconds:.1f} frames/s, written to {', '.join(map(str, written))}"
        )
        if source.length is not None and 0 < results.count < source.length:
            part = f"{source.name}: of {source.length} frames {results.count} were done"
            if is_over:
                print(f"warning: {part}; the file is cut short or damaged", file=sys.stderr)
            else:
                print(part)
