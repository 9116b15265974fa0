"""Makes datasets/bccd_small from the original BCCD data set: the same images and boxes at half the size.

    python scripts/resize_bccd.py BCCD_Dataset/BCCD datasets/bccd_small

The original is github.com/Shenggan/BCCD_Dataset (MIT); datasets/bccd_small/README.md names the commit. Boxes are
scaled, not rounded: VOC's corners count pixels from 1, so x becomes (x - 1) / 2 + 1.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

FACTOR = 2
QUALITY = 75
LISTS = ("trainval", "test")
UNUSED = ("folder", "path", "source", "segmented", "pose", "truncated")


def resize_image(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        size = (image.width // FACTOR, image.height // FACTOR)
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target, quality=QUALITY, optimize=True)


def resize_annotation(source: Path, target: Path) -> None:
    root = ElementTree.parse(source).getroot()
    for parent in (root, *root.iter("object")):
        for element in [child for child in parent if child.tag in UNUSED]:
            parent.remove(element)
    for name in ("width", "height"):
        side = root.find(f"size/{name}")
        assert side is not None
        side.text = str(int(side.text or "") // FACTOR)
    for box in root.iter("bndbox"):
        for side in box:
            side.text = f"{(float(side.text or '') - 1) / FACTOR + 1:g}"
    ElementTree.indent(root, "")
    target.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")


def main(source: Path, target: Path) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for name in LISTS:
        shutil.copyfile(source / f"ImageSets/Main/{name}.txt", target / f"ImageSets/Main/{name}.txt")
    for annotation in sorted((source / "Annotations").glob("*.xml")):
        resize_annotation(annotation, target / "Annotations" / annotation.name)
        resize_image(source / f"JPEGImages/{annotation.stem}.jpg", target / f"JPEGImages/{annotation.stem}.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
