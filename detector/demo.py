"""The demo: train on drawn scenes, evaluate before and after, draw, and say what to try next."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from .commands import (
    choose_device,
    choose_rules,
    load_scene,
    run_assign_view,
    run_eval,
    score,
)
from .config import Config, check_config
from .data import Annotations, load_annotations
from .engine.train import CHECKPOINT, FIRST_BATCH, build_model
from .evaluation.coco import Evaluation, detect_all
from .model import Detector
from .predict import make_picture
from .training import run_train
from .visualise.detections import draw_detections

PICTURED_IMAGES = 8
DRAWN_SCORE = 0.35


def run_demo(config: Config, out: Path) -> None:
    check_config(config)
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)

    _heading("1. Which points learn which box")
    assignment = out / "assignment.png"
    rules = choose_rules(config.assign.rule(), ("none", "pseudo_iou", "centerness"), ())
    run_assign_view(load_scene(config, None, None, "train", None, None), rules, (3, 4, 5), assignment)

    _heading("2. The untrained detector")
    annotations = load_annotations(config.data, "val")
    torch.manual_seed(config.train.seed)
    before = score(build_model(config, len(annotations.class_names), choose_device(config)), annotations)
    print(f"AP {100 * before.stats['AP']:.1f}   AP50 {100 * before.stats['AP50']:.1f}")

    _heading("3. Training")
    model = run_train(config, out, overwrite=True)

    _heading("4. The trained detector")
    after = run_eval(config, out / CHECKPOINT, "val", out)
    pictures = out / "detections.png"
    _draw(model, annotations, pictures)

    _heading("Done")
    assert after is not None  # as it is on further processes, which a demo does not have
    print(_table(before, after))
    print(f"\npictures: {assignment}, {out / FIRST_BATCH}, {pictures}")
    print(f"time: {time.monotonic() - started:.0f} s\n")
    print(_next_steps(out))


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _draw(model: Detector, annotations: Annotations, file: Path) -> None:
    chosen = annotations.select(range(min(PICTURED_IMAGES, len(annotations))))
    found = detect_all(model, chosen)
    pictures = [
        make_picture(chosen, index, detections, DRAWN_SCORE, has_truth=True) for index, detections in enumerate(found)
    ]
    draw_detections(pictures, annotations.class_names, file, columns=2)


def _table(before: Evaluation, after: Evaluation) -> str:
    lines = [f"{'':<8}{'untrained':>10}{'trained':>10}"]
    for name in ("AP", "AP50", "AP75"):
        lines.append(f"{name:<8}{100 * before.stats[name]:>10.1f}{100 * after.stats[name]:>10.1f}")
    return "\n".join(lines)


def _next_steps(out: Path) -> str:
    return f"""try next:
  python -m detector demo --assign.preset paper_baseline --out runs/demo_baseline
  python -m detector predict --checkpoint {out / CHECKPOINT} --limit 16
  python -m detector assign-view --scene 12 --metrics pseudo_iou scaled_box center_radius --out view.png
  python -m detector train --config detector/configs/coco_subset_r50.yaml --help"""
