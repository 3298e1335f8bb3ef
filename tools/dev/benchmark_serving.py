#!/usr/bin/env python3
"""Throughput of ppdet serve beside a bare loop over the same images in batches of the same size.

Both decode the same files from memory, resize and run the network with the same threads, in turns,
so that other work on the machine meets both. The server is a process of its own, its clients are
threads here; every answer is compared with the loop's detections of that image. The times of the
CPU are those of the process per image, without those of the clients; latencies are the median, 95%
and 99%.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppdet_lite.cli.deploy import COUNT, add_engines, number, open_detector  # noqa: E402
from ppdet_lite.cli.tool import run_tool  # noqa: E402
from ppdet_lite.core.errors import UserError  # noqa: E402
from ppdet_lite.data.pixels.image_ops import decode_image  # noqa: E402
from ppdet_lite.utils.cpu import core_count, cpu_info  # noqa: E402
from ppdet_lite.utils.detection_rows import detection_records  # noqa: E402
from ppdet_lite.utils.image_files import list_images  # noqa: E402

SERVER = Path(__file__).resolve().parents[2] / "deploy" / "serving" / "serve.py"
MOST_CLIENTS, MOST_SECONDS = 256, 120
NEAR_PX, NEAR_SCORE = 1e-2, 1e-3

EXAMPLE = """example:
  python tools/dev/benchmark_serving.py --model_dir output_inference/NAME --image_dir photos \\
      --engine openvino --max_batch 8 --cpu_threads 2 --clients 32
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model_dir", required=True, metavar="FOLDER", help="an export")
    add("--image_dir", required=True, metavar="FOLDER", help="images to send")
    text = "connections at once (default: 4 x max_batch)"
    add("--clients", type=number(1, MOST_CLIENTS), metavar="N", help=text)
    add("--images", **COUNT, default=64, help="different images at most (default: 64)")
    text = "seconds of each round of each (default: 10)"
    add("--seconds", type=number(1, MOST_SECONDS), default=10, metavar="S", help=text)
    add("--rounds", **COUNT, default=3, help="rounds of both, in turns (default: 3)")
    add("--max_wait_ms", type=float, default=5.0, metavar="MS", help="of the server (default: 5)")
    add_engines(parser, "--max_batch", 8)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    files = [path.read_bytes() for path in list_images(args.image_dir)[: args.images]]
    if not files:
        raise UserError(f"`image_dir` {args.image_dir}: no images in it")
    detector = open_detector(args)
    expected = [
        detection_records(
            detector.predict([decode_image(content)])[0], detector.class_names, detector.threshold
        )
        for content in files
    ]
    clients, batch = args.clients or 4 * args.batch_size, args.batch_size
    processor = re.search(r"model name\s*: (.*)", cpu_info())
    name = f"{processor[1] if processor else 'CPU'}, {core_count()} cores"
    print(f"{name}; {detector.engine.kernels}, {args.cpu_threads} threads, batch {batch}")
    print(f"{len(files)} images, {sum(map(len, expected))} detections, {clients} clients")
    process, port = start_server(args)
    rows = []
    try:
        measure_server(port, files, expected, clients, 2)  # memory and kernels are prepared
        measure_loop(detector, files, batch, 2)
        for _ in range(args.rounds):
            cpu = [time.process_time(), cpu_seconds(process.pid)]
            loop, images = measure_loop(detector, files, batch, args.seconds)
            cpu[0] = (time.process_time() - cpu[0]) / images
            served, times = measure_server(port, files, expected, clients, args.seconds)
            cpu[1] = (cpu_seconds(process.pid) - cpu[1]) / len(times)
            rows.append((loop, served, served / loop, *cpu))
            p50, p95, p99 = 1000 * np.percentile(times, [50, 95, 99])
            print(
                f"loop {loop:6.1f} images/s, CPU {1000 * cpu[0]:5.1f} ms   "
                f"server {served:6.1f} images/s, CPU {1000 * cpu[1]:5.1f} ms   "
                f"ratio {served / loop:.3f}   latency {p50:.0f}, {p95:.0f}, {p99:.0f} ms",
                flush=True,
            )
        print(metrics(port))
    finally:
        process.terminate()
        process.wait(60)
    loop, served, ratio, *cpu = np.median(np.array(rows), axis=0)
    print(
        f"median: loop {loop:.1f} images/s, CPU {1000 * cpu[0]:.1f} ms; server {served:.1f} "
        f"images/s, CPU {1000 * cpu[1]:.1f} ms; ratio {ratio:.3f}"
    )


def start_server(args: argparse.Namespace) -> tuple[subprocess.Popen, int]:
    """A server with the same engine, once it is ready, and its port."""
    command = [sys.executable, str(SERVER), "--model_dir", args.model_dir, "--port", "0"]
    for name in ("engine", "device", "run_mode", "precision", "provider", "cpu_threads"):
        value = getattr(args, name)
        command += [] if value is None else [f"--{name}", str(value)]
    command += ["--max_batch", str(args.batch_size), "--max_wait_ms", str(args.max_wait_ms)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    line = process.stderr.readline()
    if not line.startswith("listening on"):
        raise UserError(line + process.stderr.read())
    port = int(line.rpartition(":")[2])
    threading.Thread(target=process.stderr.read, daemon=True).start()
    while ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/ready")[0] != 200:
        time.sleep(0.1)
    return process, port


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
) -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def cpu_seconds(process: int) -> float:
    """Seconds of the CPU that a process has taken, without its children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_loop(
    detector: Any, files: list[bytes], batch: int, seconds: float
) -> tuple[float, int]:
    """Images per second of decoding, resizing and detecting, one batch after the other, and their
    number: the last batch is finished, however long it takes."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        chosen = [files[(done + i) % len(files)] for i in range(batch)]
        detector.predict([decode_image(content) for content in chosen])
        done += batch
    return done / (time.perf_counter() - start), done


def measure_server(
    port: int, files: list[bytes], expected: list[list[dict]], clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Images per second of all clients together, and the seconds of every request.

    Raises:
        UserError: an answer is missing or has other boxes.
    """
    times: list[float] = []
    wrong: list[str] = []
    start = time.perf_counter()

    def work(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() - start < seconds and not wrong:
            index = (index + clients) % len(files)
            begin = time.perf_counter()
            status, content = ask(connection, "POST", "/predict", files[index])
            times.append(time.perf_counter() - begin)
            if status != 200 or not is_same(json.loads(content), expected[index]):
                wrong.append(f"image {index}: {status} {content[:300]!r}")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise UserError(wrong[0])
    return len(times) / (time.perf_counter() - start), times


def is_same(answer: dict, expected: list[dict]) -> bool:
    """True for the same classes in the same order, and boxes and scores that are as good as equal:
    engines may round differently in batches of different sizes."""
    found = answer["images"][0]["detections"]
    return len(found) == len(expected) and all(
        one["class_id"] == other["class_id"]
        and abs(one["score"] - other["score"]) <= NEAR_SCORE
        and np.allclose(one["box"], other["box"], rtol=0, atol=NEAR_PX)
        for one, other in zip(found, expected)
    )


def metrics(port: int) -> str:
    """A line about the batches that the server made."""
    text = ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/metrics")[1].decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    runs, images = (float(figures[f"ppdet_batch_images_{name}"]) for name in ("count", "sum"))
    return f"{images:.0f} images in {runs:.0f} runs of the network, {images / runs:.2f} a run"


if __name__ == "__main__":
    run_tool(main, build_parser())
