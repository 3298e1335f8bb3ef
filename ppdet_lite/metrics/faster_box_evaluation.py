"""The same as `box_evaluation`, in C++: the package faster-coco-eval."""

from typing import Any

from ppdet_lite.metrics.box_evaluation import Boxes


def faster_box_evaluation(boxes: Boxes) -> Any:
    """COCOeval_faster on ready lists of boxes. The package is optional, so it is loaded here: the
    registry imports every module of this room.
    """
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    class FasterBoxEvaluation(COCOeval_faster):  # type: ignore[misc]  # has no types
        def __init__(self) -> None:
            super().__init__(iouType="bbox", print_function=lambda *_: None)
            self.params.imgIds, self.params.catIds = boxes.image_ids(), boxes.category_ids

        def _prepare(self) -> None:
            pairs = []
            for items, dataset in (
                (boxes.truth, self.gt_dataset),
                (boxes.found, self.dt_dataset),
            ):
                dataset.clean()
                for item in items:
                    dataset.append_ref(item["image_id"], item["category_id"], item)
                pairs.append({(item["image_id"], item["category_id"]) for item in items})
            self._nonempty_iou_pairs = pairs[0] & pairs[1]

    return FasterBoxEvaluation()
