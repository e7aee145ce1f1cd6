"""Runs Argoverse 2's own detection evaluation on the random cases and writes its numbers.

    PYTHONPATH=AV2_API/src python3 benchmarks/peers/argoverse_expected.py \
        src/athanor/detection/evaluation/testdata/argoverse_expected.bin.z

Needs https://github.com/argoverse/av2-api (unmodified) with its requirements. Only what stands
around the metric is replaced here: the pool of processes by a loop, the map by a half plane, and the
rounding to 3 decimals by one to 15.
"""
import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from av2.evaluation import SensorCompetitionCategories
from av2.evaluation.detection import eval as av2_eval
from av2.evaluation.detection.utils import DetectionCfg
from av2.geometry.se3 import SE3

from cases import CASES, CaseRandom, write_expected

ALL = [category.value for category in SensorCompetitionCategories]
COLUMNS = ["tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz"]


def random_box(r, used, extent):
    category = r.below(used)
    center = [r.around(extent, 64), r.around(extent, 64), r.around(2, 64)]
    size = [(1 + r.below(512)) / 64 for _ in range(3)]
    w = (1 + r.below(16)) / 16
    return {"category": category, "center": center, "size": size, "w": w, "z": r.around(1, 16)}


def make_case(seed):
    r = CaseRandom(seed)
    first = r.below(len(ALL))
    categories = [ALL[(first + 7 * i) % len(ALL)] for i in range(4)]
    used = 1 + r.below(3)
    sweep_count = 1 + r.below(4)
    levels = 4 << (5 * r.below(3))
    extent = 4 << (3 * r.below(3))
    crowded = r.one_in(24)
    with_roi = r.one_in(3)
    roi_x = r.around(extent, 8) / 2
    sweeps = []
    for s in range(sweep_count):
        truths, detections = [], []
        truth_count = r.below(12)
        for k in range(truth_count):
            box = random_box(r, used, extent)
            box["points"] = r.below(8)
            if r.one_in(10) and k > 0:
                box["center"] = list(truths[-1]["center"])
            if r.one_in(16):
                box["center"] = [150.0, 0.0, 0.0]
            truths.append(box)
        detection_count = 120 if crowded and s == 0 else r.below(17)
        for k in range(detection_count):
            box = random_box(r, used, extent)
            if truth_count > 0 and not r.one_in(3):
                near = truths[r.below(truth_count)]
                box["center"] = list(near["center"])
                if r.one_in(4):
                    axis = r.below(3)
                    box["center"][axis] += 0.5 * (1 << r.below(4)) if r.one_in(2) else 0
                else:
                    offset = 1 << r.below(3)
                    for i in range(3):
                        box["center"][i] += r.around(offset, 64)
                if not r.one_in(8):
                    box["category"] = near["category"]
                if r.one_in(2):
                    box["size"] = near["size"]
            box["score"] = r.below(levels) / levels
            if detection_count > 16:
                box["category"] = 0
                box["score"] = (k * 37 % 128) / 128
            elif r.one_in(8) and k > 0:
                box = detections[-1]
            detections.append(box)
        sweeps.append((f"log_{(s + 1) % 2}", 1000 - 100 * s, truths, detections))
    last = random_box(r, used, extent)
    last.update(points=1, score=0.5)
    sweeps[0][2].append(last)
    if len(sweeps[0][3]) < 16:
        sweeps[0][3].append(last)
    return categories, with_roi, roi_x, sweeps


def table(sweeps, which, categories, extra, key):
    rows = []
    for sweep in sweeps:
        for box in sweep[which]:
            values = [*box["center"], *box["size"], box["w"], 0.0, 0.0, box["z"]]
            rows.append([sweep[0], sweep[1], categories[box["category"]], *values, box[key]])
    return pd.DataFrame(rows, columns=["log_id", "timestamp_ns", "category", *COLUMNS, extra])


@contextlib.contextmanager
def loop_pool(processes):
    yield SimpleNamespace(starmap=lambda f, args: [f(*a) for a in args])


def evaluate(seed):
    categories, with_roi, roi_x, sweeps = make_case(seed)
    config = DetectionCfg(categories=tuple(categories), eval_only_roi_instances=with_roi,
                          dataset_dir=Path("unused") if with_roi else None)
    logs = {sweep[0] for sweep in sweeps}
    plane = SimpleNamespace(get_raster_layer_points_boolean=lambda xy, _: xy[:, 0] > roi_x)
    here = SE3(rotation=np.eye(3), translation=np.zeros(3))
    poses = {sweep[1]: here for sweep in sweeps}
    av2_eval.load_mapped_avm_and_egoposes = lambda *_: (
        {log: plane for log in logs}, {log: poses for log in logs})
    truths = table(sweeps, 2, categories, "num_interior_pts", "points")
    detections = table(sweeps, 3, categories, "score", "score")
    _, _, metrics = av2_eval.evaluate(detections, truths, config)
    return metrics.loc[categories + ["AVERAGE_METRICS"]].to_numpy().reshape(-1)


if __name__ == "__main__":
    av2_eval.mp.get_context = lambda _: SimpleNamespace(Pool=loop_pool)
    av2_eval.NUM_DECIMALS = 15
    write_expected(sys.argv[1], [evaluate(seed) for seed in range(CASES)])
