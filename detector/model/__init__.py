"""The network, its loss and its detections."""

from .detector import Detector
from .postprocess import Detections

__all__ = ["Detections", "Detector"]
