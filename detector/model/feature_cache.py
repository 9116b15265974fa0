"""What a frozen backbone makes of the images it has seen, kept in files, so that it runs on each of them once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from ..errors import UserError, one_line
from .backbone import STRIDES

Levels = dict[str, Tensor]


class FeatureCache:
    """The outputs of a backbone's body, float32, all levels of an image in one file.

    A file's name is a digest of the padded image, that of its folder one of the network: where other pixels, padding,
    weights or layout in memory give other bits, the name is another too. Runs may share a folder, also at the same
    time, because a file appears whole.

    Args:
        folder: of the caches of all networks; made when the first file is written.
        backbone: whose body is frozen: an image has the same features every time.
        statistics: of the pixels, which the images are normalised by.
        memory_format: that the network computes in; files hold the channels last.
    """

    def __init__(
        self,
        folder: Path,
        backbone: BackboneWithFPN,
        statistics: Sequence[Tensor],
        memory_format: torch.memory_format,
    ) -> None:
        self.names = tuple(backbone.body.return_layers.values())
        self.channels = tuple(block[0].in_channels for block in backbone.fpn.inner_blocks)
        self.memory_format = memory_format
        self.folder = folder / _network_digest(backbone.body, statistics, memory_format)

    def features(self, images: Tensor, compute: Callable[[Tensor], Levels]) -> Levels:
        """The levels of a batch (B, C, H, W) as the body gives them.

        Args:
            images: (B, 3, H, W) uint8, their sides multiples of 32.
            compute: the levels of those images of the batch that have no file yet.

        Raises:
            UserError: a file can not be written or read.
        """
        files = [self.folder / _image_digest(image) for image in images.cpu()]
        missing = [row for row, file in enumerate(files) if not file.exists()]
        try:
            if missing:
                computed = [level.permute(0, 2, 3, 1).cpu() for level in compute(images[missing]).values()]
                for position, row in enumerate(missing):
                    _write(files[row], [level[position] for level in computed])
            maps = self._read(files, images.shape[-2], images.shape[-1])
        except OSError as error:
            raise UserError(f"model.feature_cache: {self.folder}: {one_line(error)}") from error
        levels = [level.to(images.device).permute(0, 3, 1, 2) for level in maps]
        return {
            name: level.contiguous(memory_format=self.memory_format)
            for name, level in zip(self.names, levels, strict=True)
        }

    def _read(self, files: Sequence[Path], height: int, width: int) -> list[Tensor]:
        """Each level (B, H, W, C)."""
        levels = [
            torch.empty(len(files), height // stride, width // stride, channels)
            for stride, channels in zip(STRIDES, self.channels, strict=False)
        ]
        for row, file in enumerate(files):
            with file.open("rb", buffering=0) as stream:
                for level in levels:
                    if stream.readinto(level[row].numpy().data) != level[row].nbytes:
                        raise UserError(f"model.feature_cache: {file} is too short; delete it")
        return levels


def _write(file: Path, levels: Sequence[Tensor]) -> None:
    """Write the levels of an image, each (H, W, C), one after the other; the file appears whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            for level in levels:
                stream.write(level.contiguous().numpy().data)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _network_digest(body: nn.Module, statistics: Sequence[Tensor], memory_format: torch.memory_format) -> str:
    """Of the layers with their strides, of the weights, and of what the pixels are normalised by."""
    digest = hashlib.blake2b(f"{memory_format} {body!r}".encode(), digest_size=16)
    for tensor in (*body.state_dict().values(), *statistics):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _image_digest(image: Tensor) -> str:
    """Of its shape and pixels."""
    digest = hashlib.blake2b(repr(tuple(image.shape)).encode(), digest_size=16)
    digest.update(image.contiguous().numpy().data)
    return digest.hexdigest()
