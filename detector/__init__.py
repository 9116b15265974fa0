"""The reference detector: the paper's anchor-free network, trained through ``pseudo_iou_ops.assign``."""
