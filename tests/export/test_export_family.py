"""Every kind of network among the shipped configurations exports, and the export equals it."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.modeling.post_process.anchor_cell_box import AnchorCellBox
from ppdet_lite.modeling.post_process.end_to_end_boxes import SingleCellBox
from ppdet_lite.modeling.post_process.product_cell_box import ProductCellBox
from ppdet_lite.ops import nms
from ppdet_lite.weights.checkpoint import save_checkpoint
from tests.test_configs import networks

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
    "asff/yolov3_strong_baseline_coco",
    "asff/yolov3_asff_star_coco",
    "asff/yolov3_mobilenet_v2_asff_coco",
    "asff/ppyolov2_r50vd_dcn_asff_365e_coco",
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo/negative/ppyolov2_silu_coco",
    "ppyolo/ppyolo_r50vd_dcn_1x_coco",
    "ppyolo/ppyolo_r18vd_coco",
    "ppyolo/ppyolov2_r18vd_dcn_demo",
    "ppyolo/ppyolo_mbv3_small_coco",
    "ppyolo/ppyolo_tiny_650e_coco",
    "yolov3/yolov3_darknet53_270e_coco",
    "yolov3/yolov3_mobilenet_v1_270e_coco",
    "yolov4/yolov4_cspdarknet53_coco",
    "yolov4/yolov4_csp_coco",
    "yolov4/yolov4_tiny_coco",
    "yolov4/yolov4_paper_coco",
    "yolov4/ablation/yolov4_ablation_asff_rfb",
    "yolov4/ablation/yolov4_ablation_sam_gaussian",
    "yolox/yolox_tiny_300e_coco",
    "yolox/yolox_nano_300e_coco",
    "yolox/yolox_cdn_tiny_300e_coco",
    "yolox/yolox_crn_s_300e_coco",
    "yolox/upstream/yolox_nano_upstream_coco",
    "yolox/upstream/yolox_darknet53_upstream_coco",
    "yolox/roadmap/roadmap_1_yolov3_spp_coco",
    "yolox/roadmap/roadmap_2_decoupled_head_coco",
    "yolox/roadmap/roadmap_7_nms_free_coco",
    "yolox/roadmap/end_to_end_coupled_coco",
    "yolox/roadmap/end_to_end_decoupled_coco",
)

ACTIVATION = "_activation"
LAYER_ATTRIBUTES = set(vars(paddle.nn.Layer()))
"""Every layer has these."""

# Their NMS takes the best candidates of a crowded image only, as it does with all classes.
CROWDED = ("yolox/yolox_tiny_300e_coco", "yolox/yolox_nano_300e_coco")

# These become a model.pdmodel: NMS and activations that other tests of that format lack.
LEGACY = ("yolov4/yolov4_tiny_coco", "yolox/yolox_tiny_300e_coco")

# Deformable although their names do not say so.
DEFORMABLE = ("asff/yolov3_strong_baseline_coco", "asff/yolov3_asff_star_coco")

# Exported for exactly so many images per run.
FIXED_BATCH = {"yolox/yolox_cdn_tiny_300e_coco": 2, "ppyolo/ppyolov2_r18vd_dcn_demo": 1}

# Those that hold all operators of the others.
ONNX_NETWORKS = tuple(n for n in NETWORKS if not re.search("silu|r18vd|yolox_tiny|cdn_tiny", n))


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
    if cfg.architecture == "YOLOX":  # takes images from 0 to 255
        noise = noise * 60 + 114
    outputs = output_layers(model)
    for name in [name for name in outputs if ".guide_wh." in name]:
        outputs[name].weight.set_value(paddle.zeros_like(outputs[name].weight))
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
        if is_product(model):
            weights[f"{name}.bias"] = np.zeros_like(weights[f"{name}.bias"])  # else scores near 0
    return weights


def is_product(model) -> bool:
    """True if scores are products of several, which are all near 0 at the start of YOLOX."""
    return isinstance(model.post_process.decode, (ProductCellBox, AnchorCellBox, SingleCellBox))


def output_layers(model) -> dict:
    """Name -> layer of the convolutions that make the raw outputs."""
    pattern = (
        r"yolo_head\.(yolo_output|guide_wh)\.\d+|head\.conv_(cls|reg|single)\.\d+\.2"
        r"|head\.(outputs|cls_preds|reg_preds)\.\d+"
    )
    layers = model.named_sublayers()
    return {name: layer for name, layer in layers if re.fullmatch(pattern, name)}


@pytest.mark.parametrize("name", NETWORKS)
def test_export_equals_the_network(name, tmp_path, capsys, monkeypatch):
    overrides = []
    if name in CROWDED:  # 378 candidates, 100 of which enter
        monkeypatch.setattr(nms, "MOST_CANDIDATES", 100)
        monkeypatch.setattr(nms, "UNLIMITED_PAIRS", 0)
        overrides = ["YOLOXHead.nms.keep_top_k=10"]
    own = load_config(ROOT / f"{name}.yml")
    head = own.get(own.architecture, {}).get("head", "")
    if head.startswith("EndToEnd"):  # all of them: near-ties at a limit may fall either way
        overrides = [f"{head}.nms.keep_top_k=400"]
    cfg = narrow(
        name,
        *overrides,
        f"weights={tmp_path / 'random'}",
        "TestReader.inputs_def.image_shape=[3, 64, 96]",
    )
    for step in cfg["TestReader"]["sample_transforms"]:
        for settings in step.values():
            settings.update({key: [64, 96] for key in ("target_size", "size") if key in settings})
    meta = {"class_names": ["ring", "cross", "star"]}
    save_checkpoint(str(tmp_path), "random", random_weights(cfg), meta)

    onnx = name in ONNX_NETWORKS and not WHY_NO_ONNX
    formats = ["paddle-legacy" if name in LEGACY else "paddle", *(["onnx"] if onnx else [])]
    portable = onnx and ("dcn" in name or name in DEFORMABLE)
    batch = FIXED_BATCH.get(name, "dynamic")
    options = ExportOptions(formats, batch=batch, portable_dcn=portable)
    folder = export_model(cfg, tmp_path / "out", options)

    described = yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))
    assert described["batch_size"] == (-1 if batch == "dynamic" else batch)
    assert (folder / "model.pdiparams").stat().st_size > 10_000
    said = capsys.readouterr()
    verified = re.findall(
        r"export verified \((.+)\): 2 images, (\d+) of (\d+) boxes .*, (\S+) score",
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
    if name in ONNX_NETWORKS and WHY_NO_ONNX:
        pytest.skip(f"as a graph of Paddle it is right, but as ONNX not tried: {WHY_NO_ONNX}")


def kind(model) -> tuple:
    """Neck, head and what follows it."""
    head = getattr(model, "yolo_head", None)
    suppression = type(model.post_process.nms).__name__
    return (type(model.neck).__name__, suppression, head and (head.iou_aware, len(head.levels)))


def parts(model) -> set:
    """Layers that take part in an export, each with the settings that its graph depends on."""
    found = {(type(model.post_process.nms).__name__, *model.post_process.nms.arguments.items())}
    for layer in model.sublayers(include_self=True):
        name = type(layer).__name__
        if not name.endswith(("Loss", "Assigner", "DropBlock")):
            settings = settings_of(layer)
            acts = {entry for entry in settings if entry[0] == ACTIVATION}
            found |= acts  # the same operators in every layer
            found.add((name, *(entry for entry in settings if entry not in acts)))
    return found


def settings_of(layer) -> list:
    """Attributes of a layer that are words, switches, factors or functions; of convolutions and
    pools also the windows and groups.

    Numbers of channels, which other numbers and lists hold, leave a graph's operators as they are.
    """
    found, is_leaf = [], not list(layer.children())
    for key, value in sorted(vars(layer).items()):
        if key in LAYER_ATTRIBUTES or "channels" in key:
            continue
        is_window = is_leaf and isinstance(value, (list, tuple)) and len(value) == 2
        if callable(value):
            found.append((key, getattr(value, "__name__", type(value).__name__)))
        elif isinstance(value, (bool, str, float)) or is_window:
            found.append((key, str(value)))
        elif key == "_groups":
            found.append((key, value > 1))
    return found


def test_every_configuration_is_of_an_exported_kind():
    paths = networks().values()
    others = {str(path.relative_to(ROOT).with_suffix("")) for path in paths} - set(NETWORKS)
    models = {name: build(name) for name in (*NETWORKS, *sorted(others))}
    kinds = {kind(models[name]) for name in NETWORKS}
    known = set().union(*(parts(models[name]) for name in NETWORKS))
    missing = []
    for name, model in models.items():
        unknown = [*({kind(model)} - kinds), *(parts(model) - known)]
        missing += [f"{name}: {what}" for what in unknown]
    assert not missing, "add a configuration to NETWORKS for\n" + "\n".join(missing)


def test_parts_tell_networks_apart():
    """One network's settings changed: each change shows in what must be covered."""
    name = "ppyolo/ppyolov2_r18vd_dcn_demo"
    plain = parts(build(name))
    for override in (
        "PPYOLOPAN.act=leaky",
        "PPYOLOPAN.spp=false",
        "ResNet.dcn_v2_stages=[-1]",
        "YOLOv3Head.iou_aware=false",
        "MatrixNMS.use_gaussian=true",
        "BBoxPostProcess.decode.clip_bbox=false",
    ):
        assert parts(build(name, override)) != plain, override


def build(name, *overrides):
    cfg = narrow(name, *overrides)
    return create(cfg.architecture, cfg)
