"""Operators that stay out of TensorRT, or in float32 inside it.

* deformable_conv under FP16 and INT8: PP-YOLO's weights exceed the range of FP16. Paddle >= 2.6
  runs it in float32 inside TensorRT (PaddlePaddle/Paddle pull request 59310; in Paddle 3 also with
  `ops_run_float`); before, it is kept out of TensorRT.
* IOU_AWARE_OPS under FP16 and INT8: kept out, as FP16 cannot hold the inverse sigmoid
  -log(1/x - 1) with x clipped at 1e-7. Exports of this project hold all of it in `yolo_box`,
  those of PaddleDetection have the inverse sigmoid as operators of its own.
* NMS_OPS in every precision: matrix NMS has no TensorRT form, and the other NMS has another shape
  of result there.
"""

IOU_AWARE_OPS = ("yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal")
"""Operators of the IoU-aware score, which nothing else in these networks uses; the division has
another name in each kind of model file."""

NMS_OPS = ("multiclass_nms", "multiclass_nms3", "top_k_v2", "topk")
"""NMS, which TensorRT would replace by its BatchedNMS, and the choice of candidates, whose number
it would limit. Nothing else in these graphs uses them."""


def ops_outside_tensorrt(precision: str, paddle_version: str, is_pir: bool = False) -> list[str]:
    """Operators that stay in Paddle's own kernels. `paddle_version` "0.0.0", a build from source,
    counts as new; `is_pir` means those of model.json, not of model.pdmodel."""
    if precision == "fp32":
        return [*NMS_OPS]
    major, minor = (int(part) for part in paddle_version.split(".")[:2])
    keeps_float32 = (major, minor) >= (2, 6) or major == 0
    deformable = [] if keeps_float32 else ["deformable_conv"]
    division = "divide" if is_pir else "elementwise_div"
    return [*NMS_OPS, *deformable, *IOU_AWARE_OPS, division]
