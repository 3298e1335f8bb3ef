"""The same as `box_evaluation`, in C++: the package faster-coco-eval."""

from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from ppdet_lite.metrics.box_evaluation import Boxes


class FasterBoxEvaluation(COCOeval_faster):  # type: ignore[misc]  # has no types
    """COCOeval_faster on ready lists of boxes."""

    def __init__(self, boxes: Boxes):
        super().__init__(iouType="bbox", print_function=lambda *_: None)
        self._boxes = boxes
        self.params.imgIds, self.params.catIds = boxes.image_ids(), boxes.category_ids

    def _prepare(self) -> None:
        pairs = []
        for items, dataset in (
            (self._boxes.truth, self.gt_dataset),
            (self._boxes.found, self.dt_dataset),
        ):
            dataset.clean()
            for item in items:
                dataset.append_ref(item["image_id"], item["category_id"], item)
            pairs.append({(item["image_id"], item["category_id"]) for item in items})
        self._nonempty_iou_pairs = pairs[0] & pairs[1]
