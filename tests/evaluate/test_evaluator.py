"""Evaluation with detectors whose answers are known, so that the AP is known."""

import json
import weakref

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.evaluate import evaluator as evaluator_module
from ppdet_lite.evaluate.evaluator import Evaluator
from ppdet_lite.evaluate.results_file import read_results
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.modeling.modes import evaluation_mode


class Oracle(paddle.nn.Layer):
    """A detector that knows the ground truth and returns part of it.

    Args:
        keep: share of the objects of each image that is reported, from the first on.
    """

    def __init__(self, dataset, keep=1.0):
        super().__init__()
        self.norm = paddle.nn.BatchNorm2D(3)
        self.keep = keep
        self.truth = {}
        for index in range(len(dataset)):
            record = dataset.record(index)
            self.truth[int(record["im_id"][0])] = record
        self.batches = []

    def forward(self, inputs):
        assert not self.training and not paddle.is_grad_enabled()
        self.batches.append(len(inputs["im_id"]))
        rows, counts = [], []
        for im_id in inputs["im_id"].numpy().reshape(-1):
            record = self.truth[int(im_id)]
            count = int(np.ceil(self.keep * len(record["gt_bbox"])))
            scores = np.full((count, 1), 0.9)
            rows.append(
                np.concatenate(
                    [record["gt_class"][:count], scores, record["gt_bbox"][:count]], axis=1
                )
            )
            counts.append(count)
        bbox = np.concatenate(rows).astype(np.float32).reshape(-1, 6)
        return {"bbox": paddle.to_tensor(bbox), "bbox_num": paddle.to_tensor(counts, "int32")}


def load(small_config, *overrides):
    return load_config(small_config, list(overrides))


def test_a_perfect_detector_has_ap_1_and_reports_its_speed(small_config, capsys):
    evaluator = Evaluator(load(small_config))
    oracle = Oracle(evaluator.dataset)
    results = evaluator.run(oracle)
    name, value = evaluator.primary
    assert value == pytest.approx(1.0) and results[name] == value
    assert oracle.batches == [3, 1]
    printed = capsys.readouterr().err
    assert "evaluated 4 images in " in printed and "images/s" in printed


def test_missing_objects_cost_recall(small_config):
    evaluator = Evaluator(load(small_config))
    evaluator.run(Oracle(evaluator.dataset, keep=0.5))
    assert 0.3 < evaluator.primary[1] < 0.8


def test_a_detector_that_finds_nothing_has_ap_0(small_config):
    evaluator = Evaluator(load(small_config))
    evaluator.run(Oracle(evaluator.dataset, keep=0.0))
    assert evaluator.primary[1] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_detections_that_are_no_numbers_are_told_with_their_images(small_config, value):
    evaluator = Evaluator(load(small_config))
    oracle = Oracle(evaluator.dataset)
    for record in oracle.truth.values():
        record["gt_bbox"][0, 2] = value
    with pytest.raises(UserError, match="NaN or infinite numbers.*ids .1, 2, 3.*diverged"):
        evaluator.run(oracle)


def test_images_are_let_go_batch_by_batch(small_config):
    """What an evaluation keeps are detections: the memory for images does not grow with them."""
    cfg = load(small_config, "EvalReader.batch_size=1")
    reader = create("EvalReader", cfg)
    alive, images = [], []

    class Watched:
        """The reader, noting how many of its images still exist when the next one is due."""

        dataset = reader.dataset

        def bound(self, **run):
            return self

        def __len__(self):
            return len(reader)

        def __iter__(self):
            for batch in reader:
                images.append(weakref.ref(batch["image"]))
                yield batch
                del batch
                alive.append(sum(image() is not None for image in images))

    evaluator = Evaluator(cfg, reader=Watched())
    evaluator.run(Oracle(evaluator.dataset))
    assert len(alive) == 4
    assert max(alive) <= 1  # the one that the loop has in hand


def test_a_long_evaluation_shows_where_it_is(small_config, capsys, monkeypatch):
    monkeypatch.setattr(evaluator_module, "_SECONDS_BETWEEN_LINES", 0.0)
    evaluator = Evaluator(load(small_config, "EvalReader.batch_size=2"))
    evaluator.run(Oracle(evaluator.dataset))
    printed = capsys.readouterr().err
    assert "evaluating: batch 1 of 2" in printed and "evaluating: batch 2 of 2" in printed


def test_pixels_may_be_normalized_on_the_device(small_config, tmp_path, monkeypatch):
    """The road of a run on a GPU, walked on the CPU, with workers: the same detections."""
    found, kinds = [], []
    as_tensors = evaluator_module.as_tensors

    def watched(inputs):
        kinds.append(str(inputs["image"].dtype))
        return as_tensors(inputs)

    monkeypatch.setattr(evaluator_module, "as_tensors", watched)
    for workers, on_device in ((0, False), (2, True)):
        monkeypatch.setattr(evaluator_module, "normalizes_on_device", lambda way=on_device: way)
        folder = tmp_path / str(on_device)
        cfg = load(small_config, f"worker_num={workers}", "EvalReader.batch_size=1")
        run_evaluation(cfg, output_eval=str(folder))
        found.append(json.loads((folder / "bbox.json").read_text()))
    assert kinds == ["float32"] * 4 + ["uint8"] * 4
    assert len(found[0]) == len(found[1]) > 20
    for one, other in zip(*found):
        assert (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.05)


def test_two_runs_do_not_add_up(small_config):
    evaluator = Evaluator(load(small_config))
    evaluator.run(Oracle(evaluator.dataset, keep=0.0))
    evaluator.run(Oracle(evaluator.dataset))
    assert evaluator.primary[1] == pytest.approx(1.0)


def test_voc_metric_by_config(small_config):
    evaluator = Evaluator(load(small_config, "metric=VOC", "map_type=integral"))
    evaluator.run(Oracle(evaluator.dataset))
    assert evaluator.primary[1] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="metric: found 'LVIS', allowed: COCO, VOC"):
        cfg = load(small_config)
        cfg["metric"] = "LVIS"
        Evaluator(cfg)


def test_classwise_names_every_class(small_config, capsys):
    evaluator = Evaluator(load(small_config), classwise=True)
    evaluator.run(Oracle(evaluator.dataset))
    printed = capsys.readouterr().err
    assert "square" in printed and "circle" in printed


def test_modes_are_restored_layer_by_layer(small_config):
    evaluator = Evaluator(load(small_config))
    oracle = Oracle(evaluator.dataset)
    oracle.train()
    oracle.norm.eval()  # a frozen norm layer inside a model in training
    evaluator.run(oracle)
    assert oracle.training and not oracle.norm.training
    with pytest.raises(RuntimeError, match="stop"), evaluation_mode(oracle):
        raise RuntimeError("stop")
    assert oracle.training and not oracle.norm.training and paddle.is_grad_enabled()


def test_a_given_dataset_takes_the_place_of_evaldataset(small_config, tiny_coco):
    cfg = load(small_config)
    train = create(
        {
            "COCODataSet": {
                "dataset_dir": str(tiny_coco),
                "image_dir": "images",
                "anno_path": "annotations/train.json",
            }
        },
        cfg,
    )
    evaluator = Evaluator(cfg, dataset=train)
    oracle = Oracle(train)
    evaluator.run(oracle)
    assert sum(oracle.batches) == 8
    assert evaluator.primary[1] == pytest.approx(1.0)


def test_a_dataset_without_images_is_refused(small_config, tiny_coco, tmp_path):
    content = json.loads((tiny_coco / "annotations" / "val.json").read_text())
    content.update(images=[], annotations=[])
    (tmp_path / "none.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"none\.json: the list 'images' is empty"):
        Evaluator(load(small_config, f"EvalDataset.anno_path={tmp_path / 'none.json'}"))
    cfg = load(small_config)
    empty = create({"ImageFolder": {}}, cfg)
    with pytest.raises(DataError, match="no images to evaluate"):
        Evaluator(cfg, dataset=empty)


# ---------------------------------------------------------------------------------- result files
def test_results_are_written_and_can_be_evaluated_again(small_config, tmp_path, capsys):
    cfg = load(small_config)
    evaluator = Evaluator(cfg, output_eval=str(tmp_path))
    first = evaluator.run(Oracle(evaluator.dataset, keep=0.5))
    entries = json.loads((tmp_path / "bbox.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {3, 7}
    again = run_evaluation(cfg, json_eval=True, output_eval=str(tmp_path))
    assert again == pytest.approx(first, abs=1e-6)


def test_images_that_the_file_does_not_mention_count_as_misses(small_config, tmp_path):
    cfg = load(small_config)
    evaluator = Evaluator(cfg, output_eval=str(tmp_path))
    evaluator.run(Oracle(evaluator.dataset))
    path = tmp_path / "bbox.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([e for e in entries if e["image_id"] == entries[0]["image_id"]]))
    evaluator.results_of_json(str(path))
    assert 0.1 < evaluator.primary[1] < 0.6


def test_more_objects_than_the_metric_counts_are_told_once(
    small_config, tiny_coco, tmp_path, capsys
):
    content = json.loads((tiny_coco / "annotations" / "val.json").read_text())
    first = content["annotations"][0]
    content["annotations"] = [
        {**first, "id": number, "bbox": [number % 40, number // 40, 9, 9], "area": 81}
        for number in range(101)
    ]
    (tmp_path / "many.json").write_text(json.dumps(content))
    evaluator = Evaluator(load(small_config, f"EvalDataset.anno_path={tmp_path / 'many.json'}"))
    for _ in range(2):
        evaluator.run(Oracle(evaluator.dataset))
    printed = capsys.readouterr().err
    assert (
        printed.count("more objects (up to 101) than the metric counts detections (the best") == 1
    )


ENTRY = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read .*`json_eval`"),
        ("{", "not a JSON file"),
        ('{"a": 1}', "not a COCO results file"),
        ('[{"image_id": 1}]', "not a COCO results file.*entry 0 is {'image_id': 1}"),
        (json.dumps([ENTRY, {**ENTRY, "bbox": [0, None, 1, 1]}]), "entry 1 is "),
        (json.dumps([{**ENTRY, "score": float("nan")}]), "entry 0 is "),
        (json.dumps([{**ENTRY, "score": 10**400}]), "entry 0 is "),
        (json.dumps([{**ENTRY, "bbox": [0, 0, 1e300, 1]}]), "entry 0 is "),
        (json.dumps([{**ENTRY, "image_id": True}]), "entry 0 is "),
        (json.dumps([{**ENTRY, "image_id": 1.5}]), "entry 0 is "),
        ("[" * 100_000, "not a JSON file"),
        (json.dumps([{**ENTRY, "category_id": 5}]), "category_id 5 is not in "),
        (json.dumps([{**ENTRY, "image_id": 99}]), "image_id 99 is not in "),
        (json.dumps([{**ENTRY, "file_name": "x/val_1.jpg"}]), "image_id 1: found x/val_1.jpg"),
    ],
)
def test_unusable_result_files_are_named(small_config, tmp_path, content, problem):
    path = tmp_path / "bbox.json"
    if content is not None:
        path.write_text(content)
    dataset = create("EvalReader", load(small_config)).dataset
    with pytest.raises(DataError, match=f"bbox.json: .*{problem}"):
        list(read_results(str(path), dataset))


# ------------------------------------------------------------------------------- a trained model
def test_run_evaluation_writes_beside_the_checkpoints(small_config):
    cfg = load(small_config)
    results = run_evaluation(cfg)
    written = small_config.parent / "output" / "small" / "bbox.json"
    assert len(json.loads(written.read_text())) > 50
    assert all(-1 <= value <= 1 for value in results.values())


def test_classes_in_another_order_are_refused(small_config, tiny_coco, tmp_path):
    content = json.loads((tiny_coco / "annotations" / "val.json").read_text())
    content["categories"].reverse()
    (tmp_path / "swapped.json").write_text(json.dumps(content))
    cfg = load(small_config, f"EvalDataset.anno_path={tmp_path / 'swapped.json'}")
    with pytest.raises(DataError) as caught:
        run_evaluation(cfg)
    assert "class 0 is 'square' in one and 'circle' in the other" in str(caught.value)


def test_an_unreadable_image_is_named(small_config, tiny_coco, tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(4):
        source = tiny_coco / "images" / f"val_{index}.jpg"
        data = source.read_bytes()
        (tmp_path / "images" / source.name).write_bytes(data if index != 2 else data[:300])
    cfg = load(small_config, f"EvalDataset.image_dir={tmp_path / 'images'}")
    with pytest.raises(DataError, match=r"val_2\.jpg"):
        run_evaluation(cfg)


def test_voc_data_without_a_label_list(small_config, shared_dir):
    """BCCD: class names come from the annotations, two of its boxes have no area."""
    cfg = load(
        small_config,
        "metric=VOC",
        "num_classes=3",
        f"EvalDataset={{name: VOCDataSet, dataset_dir: {shared_dir / 'data' / 'bccd'}, "
        "anno_path: ImageSets/Main/val.txt, sample_num: 20}",
    )
    evaluator = Evaluator(cfg, classwise=True)
    oracle = Oracle(evaluator.dataset)
    evaluator.run(oracle)
    assert sum(oracle.batches) == 20
    assert evaluator.primary[1] == pytest.approx(1.0)


def test_a_size_that_the_network_cannot_take_is_refused(small_config):
    cfg = load(small_config, "EvalReader.sample_transforms.Resize.target_size=[100,128]")
    key = "EvalReader.sample_transforms.Resize.target_size"
    with pytest.raises(ConfigError, match=f"{key}: found 100 x 128 .*for instance 96 x 128"):
        run_evaluation(cfg)
    model = create(cfg.architecture, cfg)
    with pytest.raises(ConfigError, match="network input of 100 x 128 .* multiples of 32"):
        Evaluator(cfg).run(model)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(small_config, tmp_path):
    (tmp_path / "file").write_text("")

    def never(inputs):
        raise AssertionError("the network ran")

    evaluator = Evaluator(load(small_config), output_eval=str(tmp_path / "file" / "sub"))
    with pytest.raises(UserError, match="`output_eval` .*file/sub: cannot be written"):
        evaluator.run(never)
