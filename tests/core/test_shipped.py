"""Shipped configurations by name, from any folder."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.shipped import shipped_configs
from ppdet_lite.core.workspace import load_config

NAME = "ppyolov2_r50vd_dcn_365e_coco"


def load(path, *overrides):
    return load_config(path, overrides, validate=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_configuration_has_a_name_of_its_own(repo):
    files = [path for path in (repo / "configs").rglob("*.yml") if path.parent != repo / "configs"]
    trained = [path for path in files if path.parent.name not in ("_base_", "datasets")]
    assert sorted(shipped_configs().values()) == sorted(trained)
    assert len(shipped_configs()) == len(trained) > 80


@pytest.mark.parametrize("given", [NAME, f"{NAME}.yml", f"configs/ppyolo/{NAME}.yml"])
def test_a_name_is_the_shipped_file(repo, given):
    cfg = load(given, "epoch=3")
    path = repo / "configs" / "ppyolo" / f"{NAME}.yml"
    assert cfg == load(path, "epoch=3")
    assert (cfg.path, cfg.name) == (path, NAME)


def test_a_file_goes_first_but_a_folder_does_not(elsewhere):
    (elsewhere / NAME).mkdir()
    assert load(NAME).num_classes == 80
    (elsewhere / f"{NAME}.yml").write_text("num_classes: 7\n")
    assert load(f"{NAME}.yml").num_classes == 7


def test_a_base_may_be_a_name_or_a_relative_path(elsewhere):
    (elsewhere / "deep").mkdir()
    (elsewhere / "shared.yml").write_text("epoch: 9\n")
    (elsewhere / "deep/my.yml").write_text(f"_BASE_: [{NAME}, ../shared.yml]\nnum_classes: 3\n")
    cfg = load("deep/my.yml")
    assert (cfg.num_classes, cfg.epoch, cfg.architecture) == (3, 9, "YOLOv3")


@pytest.mark.parametrize(
    "given, said",
    [
        ("ppyolov2_r50vd_dcn", f"no such config file: ppyolov2_r50vd_dcn, .*models.*'{NAME}'"),
        ("yolox_s_300_coco.yml", "did you mean 'yolox_s_300e_coco' or"),
        ("nothing_like_it", "nothing_like_it, and none of that name is shipped .* them.$"),
        ("configs/ppyolo/no.yml", "no such config file: configs/ppyolo/no.yml"),
        ("configs/../configs/runtime.yml", "no such config file"),
        ("optimizer_365e", "no such config file: optimizer_365e"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(given, said):
    with pytest.raises(ConfigError, match=said):
        load(given)


def test_an_unknown_base_is_refused_with_the_nearest(elsewhere):
    (elsewhere / "my.yml").write_text("_BASE_: ppyolov2_r50vd_dcn_365_coco\n")
    with pytest.raises(ConfigError, match=f"_BASE_: found 'ppyolov2_r50vd.*'{NAME}'"):
        load("my.yml")


def test_a_wheel_carries_the_configurations(repo, elsewhere):
    pytest.importorskip("setuptools", minversion="77")  # as pyproject.toml asks
    sources = elsewhere / "sources"  # a copy, because a build leaves folders behind
    sources.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(repo / name, sources)
    for name in ("configs", "ppdet_lite"):
        no_cache = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repo / name, sources / name, ignore=no_cache)
    build = [sys.executable, "-m", "pip", "wheel", str(sources), "--no-deps", "-q"]
    options = ["--no-build-isolation", "--disable-pip-version-check", "-w", str(elsewhere)]
    subprocess.run([*build, *options], check=True, timeout=120)
    (wheel,) = elsewhere.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (repo / "configs").rglob("*.yml"):
        assert f"ppdet_lite/{path.relative_to(repo)}" in names
    zipfile.ZipFile(wheel).extractall(elsewhere / "site")
    code = (
        "from ppdet_lite.core.workspace import load_config\n"
        f"print(load_config('{NAME}', validate=False).path)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(elsewhere / "site")},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
    )
    inside = elsewhere / "site/ppdet_lite/configs/ppyolo" / f"{NAME}.yml"
    assert done.stdout.strip() == str(inside), done.stderr
