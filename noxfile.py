"""Every promised version: `make matrix` installs the package with each combination of Python,
Paddle, NumPy and OpenCV that has wheels, runs a short form of the demo and the quick tests, and
writes the table in docs/versions.md (some minutes per combination).

    nox -s "matrix-3.11(paddle='2.6.2', numpy='1.26', opencv='4')" table     one of them; the table
                                                          keeps earlier results of the others
"""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import nox

PYTHONS = ("3.9", "3.11", "3.13")
PADDLES = ("2.6.2", "3.0.0", "3.3.1")
NUMPYS = {"1.26": "numpy==1.26.*", "2": "numpy>=2"}
OPENCVS = {"4": "opencv-python-headless==4.*", "5": "opencv-python-headless==5.*"}
TOOLS = ("setuptools", "pytest", "safetensors", "pillow")
RESULTS, PAGE = Path(".nox/matrix"), Path("docs/versions.md")
CONFIG = "configs/ppyolo/ppyolov2_r18vd_dcn_demo.yml"
INTRODUCTION = """# Versions

Written by `make matrix`: the package installed with each combination, a short form of the demo
(data, training of one epoch, evaluation, export with its check, deployment) and the quick tests.
"""

nox.options.sessions = ["matrix", "table"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
@nox.parametrize("opencv", list(OPENCVS))
@nox.parametrize("numpy", list(NUMPYS))
@nox.parametrize("paddle", list(PADDLES))
def matrix(session, paddle, numpy, opencv):
    """Installs one combination, and runs demo and tests; the outcome goes to the table."""
    started = time.monotonic()
    folder = Path(session.virtualenv.location).resolve()
    python = str(Path(session.bin) / "python")
    outcome = {"install": install(python, paddle, numpy, opencv)}
    if outcome["install"] == "ok":
        outcome["demo"] = demo(python, folder / "demo")
        outcome["tests"] = quick_tests(python)
    outcome["seconds"] = round(time.monotonic() - started)
    session.log(json.dumps(outcome))
    RESULTS.mkdir(parents=True, exist_ok=True)
    result_file(session.python, paddle, numpy, opencv).write_text(json.dumps(outcome) + "\n")
    shutil.rmtree(folder, ignore_errors=True)  # a gigabyte


@nox.session(python=False)
def table(session):
    """Writes docs/versions.md from the results that are there."""
    header = ("Python", "Paddle", "NumPy", "OpenCV", "install", "demo", "quick tests")
    rows = []
    for python in PYTHONS:
        for paddle in PADDLES:
            for numpy in NUMPYS:
                for opencv in OPENCVS:
                    file = result_file(python, paddle, numpy, opencv)
                    outcome = json.loads(file.read_text()) if file.is_file() else {}
                    found = shutil.which(f"python{python}")
                    missing = "not run" if found else "no such interpreter"
                    cells = [outcome.get(key, "") for key in ("install", "demo", "tests")]
                    cells[0] = cells[0] or missing
                    rows.append((python, paddle, numpy, opencv, *cells))
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    PAGE.write_text("\n".join([INTRODUCTION, *lines, ""]))
    session.log(f"written: {PAGE}")


def result_file(python, paddle, numpy, opencv):
    """Where the outcome of a combination is kept."""
    return RESULTS / f"{python}-{paddle}-{numpy}-{opencv}.json"


def run(*command):
    """Exit code and output of a command."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.returncode, done.stdout


def install(python, paddle, numpy, opencv):
    """ "ok", or the reason why pip finds no set of wheels."""
    # Paddle 2.6 imports setuptools, which Python 3.12 and newer do not bring.
    wanted = (f"paddlepaddle=={paddle}", NUMPYS[numpy], OPENCVS[opencv], *TOOLS)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    code, output = run(*pip, *wanted, "-e", ".[polygons,vdl]")
    if not code:
        return "ok"
    if "No matching distribution" in output:
        return "no wheels: " + re.findall(r"No matching distribution found for (\S+)", output)[-1]
    return "versions exclude one another" if "conflict" in output else "pip fails"


def demo(python, folder):
    """ "ok", or the step that fails."""
    sets = [f"{name}Dataset.dataset_dir={folder}" for name in ("Train", "Eval", "Test")]
    options = [*sets, f"save_dir={folder}/out", "epoch=1"]
    weights = f"weights={folder}/out/{Path(CONFIG).stem}/model_final"
    exported = folder / "exported"
    make = ["tools/make_demo_data.py", "--output", str(folder), "--train", "24", "--val", "8"]
    train = ["tools/train.py", "-c", CONFIG, "--eval", "-o", *options]
    export = ["tools/export_model.py", "-c", CONFIG, "--output_dir", str(exported)]
    deploy = ["deploy/python/infer.py", "--model_dir", str(exported / Path(CONFIG).stem)]
    deploy += ["--image_dir", f"{folder}/val", "--device", "CPU"]
    for command in (make, train, [*export, "-o", *options, weights], deploy):
        if run(python, *command, *(["--output_dir", f"{folder}/drawn"] * (command is deploy)))[0]:
            return f"{Path(command[0]).name} fails"
    return "ok"


def quick_tests(python):
    """How many passed and failed."""
    _, output = run(python, "-m", "pytest", "-m", "quick", "-p", "no:cacheprovider")
    return ", ".join(re.findall(r"\d+ (?:passed|failed|errors?|skipped)", output)) or "no result"
