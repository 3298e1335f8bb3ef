"""The top-level keys of a configuration that are not sections of a class."""

from dataclasses import Field, dataclass, fields
from typing import Annotated, Any, Literal, Mapping, Optional, Union

from ppdet_lite.core.annotations import Count, Probability, Rule, Whole

_Seed = Annotated[int, Rule(lambda seed: 0 <= seed <= 2**62, f"0 to {2**62}")]

_Off = Annotated[
    bool,
    Rule(
        lambda is_on: not is_on,
        "false: networks that Paddle 3.3 trains for INT8 cannot be run after the export "
        "(docs/quantization.md); ppdet quantize makes INT8 without training",
    ),
]

CLASS_DEFAULTS = frozenset(
    "num_classes norm_type data_format width_mult depth_mult act export".split()
)
"""Keys whose readers have defaults of their own, so that none is filled into a configuration that
is silent; the defaults here are those of this package's classes."""


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
        ssod_method use_shared_memory trt exclude_nms exclude_post_process
        mode slim slim_method save_proposals proposals_path filename resume
        profiler_options uniform_output_enabled enable_auto_parallel
        model_type load_static_weights mask_anchors use_fused_allreduce_gradients
        use_default_label finetune_exclude to_static enable_ce output_dir
        """.split()
    )
    __refused__ = {  # keys of other toolkits that would change the result -> what does so here
        "early_stop": "patience: EPOCHS ends a training without better evaluations",
        "cutmix_epoch": "TrainReader.cutmix_epoch, with CutMix among its sample_transforms",
        "slice_infer": "eval and infer have an option of this name; RandomTile trains on tiles",
    }

    architecture: str = "YOLOv3"  # registered class of the detector
    num_classes: Count = 80  # number of object classes
    metric: Literal["COCO", "VOC"] = "COCO"
    map_type: Literal["11point", "integral"] = "11point"  # of the VOC metric
    classwise: bool = False  # print AP per class
    bias: int = 0  # 1 adds one pixel to widths and heights in COCO results
    output_eval: Optional[str] = None  # folder of bbox.json
    TrainDataset: Optional[dict[str, Any]] = None  # data set with `name:` or `!Class`
    EvalDataset: Optional[dict[str, Any]] = None  # data set with `name:` or `!Class`
    TestDataset: Optional[dict[str, Any]] = None  # data set with `name:` or `!Class`
    use_gpu: Optional[bool] = None  # null: a GPU where there is one; true: an error without one
    cpu_threads: Optional[Count] = None  # threads of the CPU kernels; null: all cores
    epoch: Count = 1  # number of epochs
    snapshot_epoch: Count = 1  # epochs between checkpoints and evaluations
    # newest checkpoints <epoch> to keep beside best_model and model_final; null: all
    keep_checkpoints: Optional[Count] = 3
    patience: Optional[Count] = None  # epochs without a better evaluation that end a training
    log_iter: Count = 20  # iterations between log lines
    # programs that get the curves of a training
    loggers: Optional[list[Literal["visualdl", "tensorboard", "wandb", "mlflow"]]] = None
    save_dir: str = "output"  # folder of checkpoints and logs
    report: bool = True  # a page of every training, index.html in its output folder
    # safetensors: that file, the one to exchange, beside the .pdparams
    save_format: Literal["pdparams", "safetensors"] = "pdparams"
    # files, addresses, or names of published weights
    weights: Optional[str] = None  # weights of eval, infer and export
    pretrain_weights: Optional[str] = None  # weights that training starts from
    offline: bool = False  # take weights from files and the cache only
    allow_partial_weights: bool = False  # accept weights that match less than half
    worker_num: Whole = 2  # reader processes
    # check of the image files before a training or evaluation; auto: headers, of large data sets a
    # thousand
    check_images: Literal["auto", "none", "headers", "contents"] = "auto"
    seed: Optional[_Seed] = None  # of everything random; null draws one
    norm_type: str = "bn"  # bn, sync_bn or cmbn
    data_format: str = "NCHW"
    width_mult: float = 1.0  # factor on the channels of backbone and neck
    depth_mult: float = 1.0  # factor on the depth of backbone and neck
    act: Optional[str] = "silu"  # activation of YOLOX's backbone, neck and head
    use_ema: bool = False  # keep an exponential moving average of the weights
    ema_decay: Probability = 0.9998  # decay of the average
    ema_decay_type: str = "threshold"  # threshold or exponential
    ema_filter_no_grad: bool = False  # leave frozen parameters out of the average
    amp: bool = False  # mixed precision
    amp_level: Literal["O1", "O2"] = "O1"
    init_loss_scaling: float = 1024  # first loss scale of mixed precision
    master_grad: bool = False  # float32 gradients under O2
    custom_white_list: Optional[list[str]] = None  # operators forced to half precision
    custom_black_list: Optional[list[str]] = None  # operators forced to float32
    qat: _Off = False  # quantization-aware training, which Paddle cannot finish
    accumulate_steps: Count = 1  # batches whose gradients make one optimizer step
    train_hooks: Optional[list[Any]] = None  # hooks of a training, called after its own
    custom_modules: Union[str, list[str], None] = None  # Python files with your own classes
    export: ExportSettings = ExportSettings()  # end of exported graphs

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RuntimeSettings":
        """The settings among `values`; the defaults stand for keys that are missing."""
        given = {name: values[name] for name in SETTINGS if name in values}
        export = {**(given.pop("export", None) or {})}
        for key in ExportSettings.__unused__:
            export.pop(key, None)
        return cls(**given, export=ExportSettings(**export))


SETTINGS: dict[str, Field[Any]] = {key.name: key for key in fields(RuntimeSettings)}
"""Key -> its field, with `type` and `default`."""
