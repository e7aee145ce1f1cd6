"""Runs nuScenes' own detection evaluation on the random cases and writes its numbers.

    PYTHONPATH=NUSCENES_DEVKIT/python-sdk python3 benchmarks/peers/nuscenes_expected.py \
        src/athanor/detection/evaluation/testdata/nuscenes_expected.bin.z

Needs https://github.com/nutonomy/nuscenes-devkit (unmodified) with numpy and pyquaternion.
"""
import math
import sys

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES, TP_METRICS
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.detection.evaluate import DetectionEval

from cases import CASES, CaseRandom, write_expected

CONFIG = config_factory("detection_cvpr_2019")


def random_box(r, classes, ego, extent):
    box = {"name": DETECTION_NAMES[classes[r.below(len(classes))]], "points": -1, "score": -1.0}
    box["at"] = [ego[0] + r.around(extent, 64), ego[1] + r.around(extent, 64), r.around(2, 64)]
    box["size"] = [(1 + r.below(512)) / 64 for _ in range(3)]
    tilted = r.one_in(4)
    box["rotation"] = [r.around(1, 16) if i in (0, 3) or tilted else 0.0 for i in range(4)]
    w, x, y, z = box["rotation"]
    if w * w + x * x == y * y + z * z and x * y + w * z == 0:
        box["rotation"] = [1.0, 0.0, 0.0, 0.0]
    box["velocity"] = [r.around(8, 16), r.around(8, 16)]
    if r.one_in(6):
        box["velocity"] = [math.nan, math.nan]
    box["attribute"] = r.below(9) - 1
    return box


def make_case(seed):
    """[(token, ego, truths, racks, detections)], and whether the results come reversed."""
    r = CaseRandom(seed)
    samples = 1 + r.below(4)
    if r.one_in(4):
        classes = list(range(10))
    else:
        count = 1 + r.below(3)
        classes = [r.below(10) for _ in range(count)]
    levels = 4 << (5 * r.below(3))
    extent = 4 << (2 * r.below(3))
    out = []
    for s in range(samples):
        ego = [r.around(250, 8), r.around(250, 8)]
        truth_count = 0 if r.one_in(8) else r.below(16)
        truths = []
        for k in range(truth_count):
            box = random_box(r, classes, ego, extent)
            box["points"] = 0 if r.one_in(8) else 1 + r.below(100)
            if r.one_in(16):
                box["at"][0] = ego[0] + CONFIG.class_range[box["name"]]
                box["at"][1] = ego[1]
            if r.one_in(10) and k > 0:
                box["at"] = list(truths[-1]["at"])
            truths.append(box)
        racks = []
        if r.one_in(3):
            rack = random_box(r, classes, ego, extent)
            if truth_count > 0:
                rack["at"] = list(truths[r.below(truth_count)]["at"])
            racks.append(rack)
        detection_count = 0 if r.one_in(8) else r.below(40)
        detections = []
        for k in range(detection_count):
            box = random_box(r, classes, ego, extent)
            if truth_count > 0 and not r.one_in(3):
                near = truths[r.below(truth_count)]
                box["at"] = list(near["at"])
                if r.one_in(4):
                    axis = r.below(2)
                    box["at"][axis] += 0.5 * (1 << r.below(4)) if r.one_in(2) else 0
                else:
                    offset = 1 << r.below(3)
                    for i in range(2):
                        box["at"][i] += r.around(offset, 64)
                if not r.one_in(8):
                    box["name"] = near["name"]
                if r.one_in(2):
                    box["size"] = near["size"]
                if r.one_in(2):
                    box["attribute"] = near["attribute"]
            box["score"] = r.below(levels) / levels
            if r.one_in(8) and k > 0:
                box = detections[-1]
            detections.append(box)
        out.append((f"sample_{s}", ego, truths, racks, detections))
    return out, r.one_in(2)


class Tables:
    """The few look-ups of NuScenes that the evaluation does."""

    def __init__(self, case):
        self.records = {}
        for token, ego, _, racks, _ in case:
            anns = [f"{token}_rack_{i}" for i in range(len(racks))]
            self.records["sample", token] = {"data": {"LIDAR_TOP": token}, "anns": anns}
            self.records["sample_data", token] = {"ego_pose_token": token}
            self.records["ego_pose", token] = {"translation": [ego[0], ego[1], 0.0]}
            for ann, rack in zip(anns, racks):
                self.records["sample_annotation", ann] = {
                    "category_name": "static_object.bicycle_rack", "translation": rack["at"],
                    "size": rack["size"], "rotation": rack["rotation"]}

    def get(self, table, token):
        return self.records[table, token]


def to_boxes(samples):
    boxes = EvalBoxes()
    for token, listed in samples:
        boxes.add_boxes(token, [
            DetectionBox(
                sample_token=token, translation=tuple(box["at"]), size=tuple(box["size"]),
                rotation=tuple(box["rotation"]), velocity=tuple(box["velocity"]),
                num_pts=box["points"], detection_name=box["name"], detection_score=box["score"],
                attribute_name="" if box["attribute"] < 0 else ATTRIBUTE_NAMES[box["attribute"]])
            for box in listed])
    return boxes


def filtered(tables, boxes):
    if not boxes.all:  # the devkit's filter cannot take an empty set
        return boxes
    return filter_eval_boxes(tables, add_center_dist(tables, boxes), CONFIG.class_range)


def evaluate(seed):
    case, is_reversed = make_case(seed)
    tables = Tables(case)
    evaluation = DetectionEval.__new__(DetectionEval)
    evaluation.cfg = CONFIG
    evaluation.verbose = False
    evaluation.gt_boxes = filtered(tables, to_boxes([(c[0], c[2]) for c in case]))
    found = [(c[0], c[4]) for c in case]
    evaluation.pred_boxes = filtered(tables, to_boxes(found[::-1] if is_reversed else found))
    metrics, _ = evaluation.evaluate()
    values = []
    for name in DETECTION_NAMES:
        values += [metrics.get_label_ap(name, distance) for distance in CONFIG.dist_ths]
    for name in DETECTION_NAMES:
        values += [metrics.get_label_tp(name, metric) for metric in TP_METRICS]
    values += [metrics.mean_ap] + [metrics.tp_errors[m] for m in TP_METRICS] + [metrics.nd_score]
    return values


if __name__ == "__main__":
    np.seterr(all="ignore")
    write_expected(sys.argv[1], [evaluate(seed) for seed in range(CASES)])
