"""The op in other projects' detectors, each adapter in a module of its own.

- :mod:`.torchvision`: FCOS and RetinaNet.
- :mod:`.detectron2`: FCOS.
- :mod:`.mmdetection`: FCOSHead, and an assigner for the registry.
- :mod:`.mmdetection_assigners`: assigners under the arguments of mmdetection's own.
- :mod:`.yolo`: the assigner's slot of the YOLO family.

None of them imports the other project when it is imported, and none adds a dependency.
"""
