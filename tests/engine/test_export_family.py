"""Every kind of network among the shipped configurations exports, and the export equals it."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.engine.checkpoint import save_checkpoint
from ppdet_lite.engine.export import export_model

ROOT = Path(__file__).resolve().parent.parent.parent / "configs"

WHY_NO_ONNX = ""
for package in ("onnx", "paddle2onnx", "onnxruntime"):
    if importlib.util.find_spec(package) is None:
        WHY_NO_ONNX = f"needs the package {package}"
if paddle.__version__.startswith("2."):
    WHY_NO_ONNX = "needs Paddle 3"
if not WHY_NO_ONNX:
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 25):
        WHY_NO_ONNX = "needs ONNX Runtime 1.25, the first with deformable convolution"

# One for each kind of neck, head and post-processing, and for every layer; the last test holds the
# other configurations against them.
NETWORKS = (
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo/ppyolo_r50vd_dcn_1x_coco",
    "ppyolo/ppyolo_r18vd_coco",
    "ppyolo/ppyolo_mbv3_small_coco",
    "ppyolo/ppyolo_tiny_650e_coco",
    "yolov3/yolov3_darknet53_270e_coco",
    "yolox/yolox_tiny_300e_coco",
    "yolox/yolox_nano_300e_coco",
    "yolox/yolox_cdn_tiny_300e_coco",
)

# Those that hold all operators of the others.
ONNX_NETWORKS = tuple(n for n in NETWORKS if not re.search("r18vd|yolox_tiny|cdn_tiny", n))


def narrow(name: str, *overrides):
    """The configuration with three classes and few channels."""
    path = ROOT / f"{name}.yml"
    width = min(0.125, load_config(path).get("width_mult", 1.0))
    small = ["num_classes=3", f"width_mult={width}", "use_gpu=false"]
    return load_config(path, [*small, *overrides])


def random_weights(cfg) -> dict:
    """Weights of `cfg`'s model whose raw outputs are of the size of trained ones."""
    paddle.seed(1)
    rng = np.random.default_rng(1)
    model = create(cfg.architecture, cfg)
    model.eval()
    noise = rng.standard_normal((1, 3, 64, 96)).astype(np.float32)
    if cfg.architecture == "YOLOX":  # takes pictures from 0 to 255
        noise = noise * 60 + 114
    outputs = output_layers(model)
    seen = {}  # what each output convolution gets

    def hook_of(name):
        return lambda layer, inputs: seen.update({name: inputs[0].numpy()})

    hooks = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in outputs.items()]
    with paddle.no_grad():
        model.raw_outputs(paddle.to_tensor(noise))
    for hook in hooks:
        hook.remove()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    assert set(seen) == set(outputs)
    for name, feature in seen.items():
        spread = np.sqrt((feature**2).mean() * feature.shape[1])
        shape = outputs[name].weight.shape
        weights[f"{name}.weight"] = rng.normal(0, 1 / spread, shape).astype(np.float32)
    return weights


def output_layers(model) -> dict:
    """Name -> layer of the convolutions that make the raw outputs."""
    pattern = r"yolo_head\.yolo_output\.\d+|head\.conv_(cls|reg)\.\d+\.2"
    layers = model.named_sublayers()
    return {name: layer for name, layer in layers if re.fullmatch(pattern, name)}


@pytest.mark.parametrize("name", NETWORKS)
def test_export_equals_the_network(name, tmp_path, capsys):
    cfg = narrow(
        name,
        f"weights={tmp_path / 'random'}",
        "TestReader.inputs_def.image_shape=[3, 64, 96]",
        "TestReader.sample_transforms.Resize.target_size=[64, 96]",
    )
    if cfg.architecture == "YOLOX":
        cfg["TestReader"]["sample_transforms"][2]["Pad"]["size"] = [64, 96]
    meta = {"class_names": ["ring", "cross", "star"]}
    save_checkpoint(str(tmp_path), "random", random_weights(cfg), meta)

    onnx = name in ONNX_NETWORKS and not WHY_NO_ONNX
    formats = ["paddle", "onnx"] if onnx else ["paddle"]
    portable = onnx and "dcn" in name
    folder = export_model(cfg, tmp_path / "out", formats=formats, portable_dcn=portable)

    assert (folder / "model.pdiparams").stat().st_size > 10_000
    said = capsys.readouterr()
    verified = re.findall(
        r"export verified \((.+)\): 2 pictures, (\d+) of (\d+) boxes .*, (\S+) score",
        said.out + said.err,
    )
    runners = ["plain kernels", "oneDNN kernels"]
    if onnx:
        runners.append("ONNX Runtime, model.onnx")
        last = "model_portable.onnx" if portable else "model.onnx"
        runners += ["ONNX Runtime, model_portable.onnx"] if portable else []
        runners += [f"OpenVINO, {last}"] if importlib.util.find_spec("openvino") else []
    assert [runner for runner, *_ in verified] == runners
    for _, found, total, score_gap in verified:
        assert 0 < int(found) == int(total)
        assert float(score_gap) < 1e-4


@pytest.mark.skipif(bool(WHY_NO_ONNX), reason=WHY_NO_ONNX)
def test_the_exports_above_were_also_made_for_onnx():
    """Shows in the list of skipped tests when they were not."""


def kind(model) -> tuple:
    """Neck, head and what follows it."""
    head = getattr(model, "yolo_head", None)
    nms = type(model.post_process.nms).__name__
    return (type(model.neck).__name__, nms, head and (head.iou_aware, len(head.levels)))


def layer_types(model) -> set:
    """Names of the layers that take part in an export."""
    names = {type(layer).__name__ for layer in model.sublayers(include_self=True)}
    return {name for name in names if not name.endswith(("Loss", "Assigner", "DropBlock"))}


def test_every_configuration_is_of_an_exported_kind():
    exported = [build(name) for name in NETWORKS]
    kinds = {kind(model) for model in exported}
    layers = set().union(*map(layer_types, exported))
    missing = []
    for path in sorted(ROOT.rglob("*.yml")):
        if path.parent.name in ("_base_", "datasets") or path.name == "runtime.yml":
            continue
        model = build(path.relative_to(ROOT).with_suffix(""))
        unknown = [*({kind(model)} - kinds), *(layer_types(model) - layers)]
        missing += [f"{path.stem}: {what}" for what in unknown]
    assert not missing, "add a configuration to NETWORKS for\n" + "\n".join(missing)


def build(name):
    cfg = narrow(name)
    return create(cfg.architecture, cfg)
