"""The house keeps its shape: which part may import which, and what stays light."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "ppdet_lite"
BELOW = {"core", "ops", "data", "device", "metrics", "modeling", "utils", "weights"}
MAY_IMPORT = {
    "core": set(),
    "ops": set(),
    "utils": {"core.errors"},
    "data": {"core", "ops.boxes_np", "utils"},
    "metrics": {"core", "ops.boxes_np", "utils"},
    "modeling": {"core", "ops"},
    "weights": {"core", "utils"},
    "device": {"core.errors", "utils"},
    "evaluate": BELOW,
    "train": BELOW | {"evaluate", "report"},
    "runtime": {"core.annotations", "core.errors", "core.yaml", "data.pixels.image_ops", "utils"},
    "export": BELOW | {"evaluate", "runtime"},
    "benchmark": BELOW | {"evaluate", "export", "runtime", "train"},
    "report": {
        "core.errors",
        "data.doctor",
        "data.subset",
        "data.pixels.image_ops",
        "evaluate.results_file",
        "metrics",
        "ops.boxes_np",
        "utils",
    },
    "cli": {"core", "data.pixels.image_ops", "runtime", "utils"},
    "api": BELOW | {"evaluate", "runtime", "train"},
    "evolve": {"core", "utils"},
    "serve": {"core.errors", "data.pixels.image_ops", "runtime", "utils"},
    "quantize": BELOW | {"benchmark", "evaluate", "export", "runtime"},
    "commands": BELOW
    | {"api", "benchmark", "cli", "evaluate", "evolve", "export", "quantize", "report", "runtime"}
    | {"serve", "train"},
}


def imports_of(path: Path) -> list:
    """Dotted names of every import in a file, also of those inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(name: str) -> str:
    """`ppdet_lite.data.reader.readers.X` -> `data.reader.X`; an empty string for other packages."""
    return name[len(PACKAGE) + 1 :] if name.startswith(PACKAGE + ".") else ""


def inside(name: str, doors: set) -> bool:
    return any(name == door or name.startswith(door + ".") for door in doors)


def test_doors_between_the_rooms(repo):
    broken = []
    for path in sorted((repo / PACKAGE).rglob("*.py")):
        here = path.relative_to(repo / PACKAGE).parts[0]
        if here.endswith(".py"):
            continue
        for name in map(room, imports_of(path)):
            if name and not inside(name, MAY_IMPORT[here] | {here, "__version__"}):
                broken.append(f"{path.relative_to(repo)} imports {name}")
    assert broken == []


def test_no_file_imports_itself_by_way_of_others(repo):
    """Imports inside functions count: they are how a circle hides."""
    names = {
        ".".join(path.relative_to(repo).with_suffix("").parts): path
        for path in (repo / PACKAGE).rglob("*.py")
        if path.name != "__init__.py"
    }
    arrows = {
        name: {
            known
            for imported in imports_of(path)
            for known in (imported, imported.rpartition(".")[0])
            if known in names and known != name
        }
        for name, path in names.items()
    }
    while True:  # what imports no other file, or is imported by none, is in no circle
        imported = set().union(*arrows.values())
        free = {
            n for n, targets in arrows.items() if not targets & set(arrows) or n not in imported
        }
        if not free:
            break
        arrows = {name: targets for name, targets in arrows.items() if name not in free}
    assert sorted(arrows) == []


MOST_FILES = 16


def test_a_folder_holds_few_files(repo):
    for folder in (PACKAGE, "tools", "deploy"):
        for path in [repo / folder, *(repo / folder).rglob("*/")]:
            files = [file for file in path.glob("*.py") if file.name != "__init__.py"]
            assert len(files) <= MOST_FILES, f"{path.relative_to(repo)}: {len(files)} files"


def test_data_and_metrics_never_import_paddle(repo):
    for folder in ("data", "metrics", "core", "utils", "cli", "commands", "evolve"):
        for path in (repo / PACKAGE / folder).rglob("*.py"):
            assert not any(name.split(".")[0] == "paddle" for name in imports_of(path)), path


def test_tools_import_what_they_call(repo):
    allowed = {"benchmark", "cli", "commands", "core", "utils"}
    for path in (repo / "tools").glob("*.py"):
        doors = allowed | ({"data.synthetic"} if path.name == "make_demo_data.py" else set())
        for name in map(room, imports_of(path)):
            assert not name or inside(name, doors), f"{path.name} imports {name}"


def test_deploy_imports_light_modules_only(repo):
    doors = {"cli.deploy", "runtime.detector"}
    for path in (repo / "deploy" / "python").glob("*.py"):
        for name in map(room, imports_of(path)):
            assert not name or inside(name, doors), f"{path.name} imports {name}"


def test_package_inits_are_light(repo):
    light = {"importlib", "sys", "types", "typing"}
    for path in (repo / PACKAGE).rglob("__init__.py"):
        names = {name.split(".")[0] for name in imports_of(path)} - light
        doors = {PACKAGE} if path.parent == repo / PACKAGE else set()  # for type checkers only
        assert names <= doors, path


def test_no_star_imports_and_no_bare_except(repo):
    for folder in (PACKAGE, "tools", "deploy"):
        for path in (repo / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    assert all(alias.name != "*" for alias in node.names), path
                if isinstance(node, ast.ExceptHandler):
                    assert node.type is not None, f"{path}:{node.lineno}"


LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def test_files_and_functions_are_short(repo):
    too_long = []
    for folder in (PACKAGE, "tools", "deploy", "tests"):
        for path in sorted((repo / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if (lines := text.count("\n")) > LONGEST_FILE:
                too_long.append(f"{path.relative_to(repo)}: {lines} lines")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    lines = node.end_lineno - node.lineno + 1
                    if lines > LONGEST_FUNCTION:
                        too_long.append(f"{path.relative_to(repo)}: {node.name}, {lines} lines")
    assert too_long == []


TOOLS = ["train", "eval", "infer", "export_model", "benchmark", "make_demo_data", "quickstart"]
TOOLS += ["benchmark_reader", "model_info", "quantize"]


@pytest.mark.parametrize(
    "script", [f"tools/{name}.py" for name in TOOLS] + ["deploy/python/infer.py"]
)
def test_help_answers_without_paddle(repo, script):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{script}', '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'paddle' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout and "usage" in done.stdout


def test_requirements_file_follows_pyproject(repo):
    script = runpy.run_path(str(repo / "tools/dev/write_requirements.py"))
    assert (repo / "requirements.txt").read_text(encoding="utf-8") == script["requirements"]()


@pytest.mark.skipif(sys.version_info < (3, 10), reason="needs sys.stdlib_module_names")
def test_the_registry_needs_no_optional_package(repo):
    """It imports every module of these rooms; what only some have is imported where it is used."""
    needed = {"numpy", "cv2", "yaml", "pycocotools", "tqdm", "paddle", PACKAGE}
    broken = []
    for room in ("modeling", "data", "metrics", "train"):
        for path in sorted((repo / PACKAGE / room).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.ImportFrom):
                    names = [node.module]
                elif not isinstance(node, ast.Import):
                    continue
                roots = {name.partition(".")[0] for name in names}
                if unknown := roots - needed - set(sys.stdlib_module_names):
                    broken.append(f"{path.relative_to(repo)}: {unknown}")
    assert broken == []
