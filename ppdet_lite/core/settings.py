"""The top-level keys of a configuration that are not sections of a class."""

from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, Mapping, Optional, Union


def _key(default: Any, meaning: str, **facts: Any) -> Any:
    """A field with what checks and messages need to know of its key.

    Args:
        **facts: `low` and `high`, the smallest and the largest number allowed; `class_default=True`
            where the classes that read the key have defaults of their own, so that none is filled
            into a configuration that is silent (`default` is then that of this package's classes).
    """
    return field(default=default, metadata={"meaning": meaning, **facts})


@dataclass(frozen=True)
class ExportSettings:
    """PaddleDetection's section `export`: where the exported graph ends.

    Attributes:
        post_process: False leaves out decoding and NMS.
        nms: False leaves out NMS.
        benchmark: True leaves out decoding and NMS.
    """

    __unused__ = frozenset({"fuse_conv_bn"})  # batch norms are always folded

    post_process: bool = True
    nms: bool = True
    benchmark: bool = False


@dataclass(frozen=True)
class RuntimeSettings:
    """The settings of a run: one field per top-level key, with its type and default.

    `cfg.settings` holds those of a configuration.
    """

    __unused__ = frozenset(  # keys of PaddleDetection's files without effect here
        """
        use_xpu use_npu use_mlu use_gcu print_flops print_params find_unused_parameters
        hidden_dim use_vdl vdl_log_dir log_ranks save_prediction_only sync_bn fleet
        early_stop ssod_method use_shared_memory trt exclude_nms exclude_post_process
        mode slim slim_method save_proposals proposals_path cutmix_epoch filename resume
        slice_infer profiler_options uniform_output_enabled enable_auto_parallel
        model_type load_static_weights mask_anchors use_fused_allreduce_gradients
        use_default_label finetune_exclude to_static enable_ce output_dir
        """.split()
    )

    architecture: str = _key("YOLOv3", "registered class of the detector")
    num_classes: int = _key(80, "number of object classes", low=1, class_default=True)
    metric: Literal["COCO", "VOC"] = _key("COCO", "COCO or VOC")
    map_type: Literal["11point", "integral"] = _key("11point", "VOC metric: 11point or integral")
    classwise: bool = _key(False, "print AP per class")
    bias: int = _key(0, "1 adds one pixel to widths and heights in COCO results")
    output_eval: Optional[str] = _key(None, "folder of bbox.json")
    TrainDataset: Optional[dict[str, Any]] = _key(None, "data set with `name:` or `!Class`")
    EvalDataset: Optional[dict[str, Any]] = _key(None, "data set with `name:` or `!Class`")
    TestDataset: Optional[dict[str, Any]] = _key(None, "data set with `name:` or `!Class`")
    use_gpu: bool = _key(True, "use a GPU when Paddle has one")
    cpu_threads: Optional[int] = _key(None, "threads of the CPU kernels; null: all cores")
    epoch: int = _key(1, "number of epochs", low=1)
    snapshot_epoch: int = _key(1, "epochs between checkpoints and evaluations", low=1)
    log_iter: int = _key(20, "iterations between log lines", low=1)
    save_dir: str = _key("output", "folder of checkpoints and logs")
    save_format: Literal["pdparams", "safetensors"] = _key(
        "pdparams", "safetensors: that file, the one to exchange, beside the .pdparams"
    )
    weights: Optional[str] = _key(None, "weights of eval, infer and export")
    pretrain_weights: Optional[str] = _key(None, "weights that training starts from")
    allow_partial_weights: bool = _key(False, "accept weights that match less than half")
    worker_num: int = _key(2, "reader processes", low=0)
    check_images: Literal["none", "headers", "contents"] = _key(
        "headers", "check of the image files before a training or evaluation"
    )
    seed: Optional[int] = _key(None, "of everything random; null draws one", low=0, high=2**62)
    norm_type: str = _key("bn", "bn or sync_bn", class_default=True)
    data_format: str = _key("NCHW", "NCHW", class_default=True)
    width_mult: float = _key(1.0, "factor on the channels of backbone and neck", class_default=True)
    depth_mult: float = _key(1.0, "factor on the depth of backbone and neck", class_default=True)
    act: Optional[str] = _key(
        "silu", "activation of YOLOX's backbone, neck and head", class_default=True
    )
    use_ema: bool = _key(False, "keep an exponential moving average of the weights")
    ema_decay: float = _key(0.9998, "decay of the average", low=0, high=1)
    ema_decay_type: str = _key("threshold", "threshold or exponential")
    ema_filter_no_grad: bool = _key(False, "leave frozen parameters out of the average")
    amp: bool = _key(False, "mixed precision")
    amp_level: Literal["O1", "O2"] = _key("O1", "O1 or O2")
    init_loss_scaling: float = _key(1024, "first loss scale of mixed precision")
    master_grad: bool = _key(False, "float32 gradients under O2")
    custom_white_list: Optional[list[str]] = _key(None, "operators forced to half precision")
    custom_black_list: Optional[list[str]] = _key(None, "operators forced to float32")
    accumulate_steps: int = _key(1, "batches whose gradients make one optimizer step", low=1)
    custom_modules: Union[str, list[str], None] = _key(None, "Python files with your own classes")
    export: ExportSettings = _key(ExportSettings(), "end of exported graphs", class_default=True)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RuntimeSettings":
        """The settings among `values`; the defaults stand for keys that are missing."""
        given = {name: values[name] for name in SETTINGS if name in values}
        export = {**(given.pop("export", None) or {})}
        for key in ExportSettings.__unused__:
            export.pop(key, None)
        return cls(**given, export=ExportSettings(**export))


SETTINGS: dict[str, Field[Any]] = {key.name: key for key in fields(RuntimeSettings)}
"""Key -> its field, with `type`, `default`, and in `metadata` its `meaning` and other facts."""
