"""Operators that stay out of TensorRT, or in float32 inside it.

Under FP16 and INT8 two things stay in float32. Weights of PP-YOLO's deformable convolutions exceed
the range of FP16 (PaddlePaddle/Paddle pull request 59310), and the IoU-aware score is made of
powers and an inverse sigmoid, -log(1/x - 1) with x clipped at 1e-7, which FP16 cannot hold:

* deformable_conv: Paddle >= 2.6 runs it in float32 by itself inside TensorRT (that pull request;
  in Paddle 3 `ops_run_float` says so too). Before 2.6 it is kept out of TensorRT with
  `exp_disable_tensorrt_ops`, and Paddle's own GPU kernel computes it in float32.
* IOU_AWARE_OPS: kept out of TensorRT in every version (`exp_disable_tensorrt_ops`, in Paddle 3
  `disable_ops`), so that Paddle's float32 kernels compute them. This project's exports hold all of
  it in `yolo_box`; those of PaddleDetection spell the inverse sigmoid out before that.

The NMS stays in Paddle in every precision: matrix NMS has no TensorRT form, and for the other one
TensorRT has its own kind of NMS, whose result has another shape.
"""

IOU_AWARE_OPS = ("yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal")
"""Operators of the IoU-aware score; nothing else in this family of networks uses them. There is a
division, too, which has another name in each kind of model file."""

NMS_OPS = ("multiclass_nms", "multiclass_nms3", "top_k_v2", "topk")
"""Operators that TensorRT would replace by its BatchedNMS, and those that choose the candidates for
them, whose number TensorRT would limit. Nothing else in these graphs uses them."""


def ops_outside_tensorrt(precision: str, paddle_version: str, is_pir: bool = False) -> list[str]:
    """Operators that stay in Paddle's own kernels; see the module.

    Args:
        precision: "fp32", "fp16" or "int8".
        paddle_version: for instance "2.6.2"; "0.0.0", a build from source, counts as new.
        is_pir: of model.json, not of model.pdmodel.
    """
    if precision == "fp32":
        return [*NMS_OPS]
    major, minor = (int(part) for part in paddle_version.split(".")[:2])
    keeps_float32 = (major, minor) >= (2, 6) or major == 0
    deformable = [] if keeps_float32 else ["deformable_conv"]
    division = "divide" if is_pir else "elementwise_div"
    return [*NMS_OPS, *deformable, *IOU_AWARE_OPS, division]
