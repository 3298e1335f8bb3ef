"""The settings of a run: what a configuration says, and the defaults of what it does not."""

import dataclasses

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import parameters_of, registered
from ppdet_lite.core.settings import CLASS_DEFAULTS, SETTINGS, RuntimeSettings
from ppdet_lite.core.workspace import Config, load_config


def test_a_configuration_built_in_python_has_them_as_well():
    cfg = Config({"epoch": 3, "YOLOv3": {}, "seed": None})
    assert cfg.settings == RuntimeSettings(epoch=3)
    cfg["epoch"] = 4
    assert (cfg.settings.epoch, cfg.settings.save_dir) == (4, "output")
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.settings.epoch = 5


def test_a_file_that_says_nothing_gets_the_defaults(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text("log_iter: 5\n")
    cfg = load_config(path)
    assert cfg.settings == RuntimeSettings(log_iter=5)
    assert cfg["worker_num"] == RuntimeSettings.worker_num
    assert not CLASS_DEFAULTS & set(cfg)


def test_defaults_of_classes_stand_in_the_settings_as_well():
    for cls in (cls for cls in registered().values() if cls.__module__.startswith("ppdet_lite.")):
        for key in CLASS_DEFAULTS & set(getattr(cls, "__shared__", ())):
            own = parameters_of(cls)[key].default
            assert own is None or own == SETTINGS[key].default, (cls, key)


def test_the_home_folder_may_be_abbreviated(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config({"save_dir": "~/runs"}).output_folder == str(tmp_path / "runs" / "config")
    assert Config().output_folder == "output/config"


def test_quantization_aware_training_is_refused(repo):
    with pytest.raises(ConfigError, match="qat: found True.*quantization.md"):
        load_config(repo / "configs/runtime.yml", ["qat=true"])
    assert not load_config(repo / "configs/runtime.yml", ["qat=false"]).settings.qat
