"""The top-level keys of a configuration that are not sections of a class: their type, default and
meaning.
"""

from typing import Any, Literal, NamedTuple, Optional, Union


class _NoDefault:
    def __repr__(self) -> str:
        return "(the default of the class that reads it)"


NO_DEFAULT = _NoDefault()


class RuntimeKey(NamedTuple):
    """One top-level key. `default` NO_DEFAULT: the key is shared and the reading class's own
    default applies. `low` and `high`: the smallest and largest number allowed, None for no bound.
    """

    annotation: Any
    default: Any
    meaning: str
    low: Optional[float] = None
    high: Optional[float] = None


RUNTIME_KEYS = {
    "architecture": RuntimeKey(str, "YOLOv3", "registered class of the detector"),
    "num_classes": RuntimeKey(int, NO_DEFAULT, "number of object classes", low=1),
    "metric": RuntimeKey(Literal["COCO", "VOC"], "COCO", "COCO or VOC"),
    "map_type": RuntimeKey(
        Literal["11point", "integral"], "11point", "VOC metric: 11point or integral"
    ),
    "classwise": RuntimeKey(bool, False, "print AP per class"),
    "bias": RuntimeKey(int, 0, "1 adds one pixel to widths and heights in COCO results"),
    "output_eval": RuntimeKey(Optional[str], None, "folder of bbox.json"),
    "TrainDataset": RuntimeKey(Optional[dict], None, "data set with `name:` or `!Class`"),
    "EvalDataset": RuntimeKey(Optional[dict], None, "data set with `name:` or `!Class`"),
    "TestDataset": RuntimeKey(Optional[dict], None, "data set with `name:` or `!Class`"),
    "use_gpu": RuntimeKey(bool, True, "use a GPU when Paddle has one"),
    "cpu_threads": RuntimeKey(Optional[int], None, "threads of the CPU kernels; null: all cores"),
    "epoch": RuntimeKey(int, 1, "number of epochs", low=1),
    "snapshot_epoch": RuntimeKey(int, 1, "epochs between checkpoints and evaluations", low=1),
    "log_iter": RuntimeKey(int, 20, "iterations between log lines", low=1),
    "save_dir": RuntimeKey(str, "output", "folder of checkpoints and logs"),
    "weights": RuntimeKey(Optional[str], None, "weights of eval, infer and export"),
    "pretrain_weights": RuntimeKey(Optional[str], None, "weights that training starts from"),
    "allow_partial_weights": RuntimeKey(bool, False, "accept weights that match less than half"),
    "worker_num": RuntimeKey(int, 2, "reader processes", low=0),
    "seed": RuntimeKey(
        Optional[int], None, "seed of everything random; null draws one and prints it", low=0
    ),
    "norm_type": RuntimeKey(str, NO_DEFAULT, "bn or sync_bn"),
    "data_format": RuntimeKey(str, NO_DEFAULT, "NCHW"),
    "width_mult": RuntimeKey(float, NO_DEFAULT, "factor on the channels of backbone and neck"),
    "depth_mult": RuntimeKey(float, NO_DEFAULT, "factor on the depth of backbone and neck"),
    "act": RuntimeKey(Optional[str], NO_DEFAULT, "activation of YOLOX's backbone, neck and head"),
    "use_ema": RuntimeKey(bool, False, "keep an exponential moving average of the weights"),
    "ema_decay": RuntimeKey(float, 0.9998, "decay of the average", low=0, high=1),
    "ema_decay_type": RuntimeKey(str, "threshold", "threshold or exponential"),
    "ema_filter_no_grad": RuntimeKey(bool, False, "leave frozen parameters out of the average"),
    "amp": RuntimeKey(bool, False, "mixed precision"),
    "amp_level": RuntimeKey(str, "O1", "O1 or O2"),
    "init_loss_scaling": RuntimeKey(Union[int, float], 1024, "first loss scale of mixed precision"),
    "master_grad": RuntimeKey(bool, False, "float32 gradients under O2"),
    "custom_white_list": RuntimeKey(Optional[list], None, "operators forced to half precision"),
    "custom_black_list": RuntimeKey(Optional[list], None, "operators forced to float32"),
    "accumulate_steps": RuntimeKey(
        int, 1, "batches whose gradients make one optimizer step", low=1
    ),
    "custom_modules": RuntimeKey(
        Union[str, list], [], "your own Python files or modules with registered classes"
    ),
    "export": RuntimeKey(Optional[dict], None, "PaddleDetection's; the whole graph is exported"),
}

# Keys of PaddleDetection's files that have no meaning here: taken, and named once.
UNUSED_KEYS = frozenset(
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
