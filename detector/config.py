"""The configuration: frozen dataclasses, read from strict YAML, overridden on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from .assign_config import AssignConfig
from .errors import UsageError

T = TypeVar("T")
# What a field may hold stands at the field; what several of them have to agree on is in check_config.
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegativeNumber = Annotated[float, Field(ge=0)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Backbone = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnext101_32x8d", "resnext101_64x4d"]


@dataclass(frozen=True)
class SyntheticConfig:
    """The built-in data set of drawn scenes."""

    train_images: Positive = 1200
    """Number of training scenes."""
    val_images: Positive = 200
    """Number of validation scenes."""
    size: Positive = 128
    """Side of a scene in pixels."""
    max_objects: NotNegative = 8
    """Most objects in a scene; some scenes are empty."""
    seed: int = 0
    """The same seed draws the same scenes."""


@dataclass(frozen=True)
class SplitConfig:
    """One split of a data set; paths are relative to the root."""

    annotations: tuple[str, ...] = ()
    """coco: JSON files. voc: lists of image names, such as VOC2007/ImageSets/Main/trainval.txt."""
    images: str = "."
    """coco: the folder that the file names in the JSON start from. Not read by voc."""


@dataclass(frozen=True)
class DataConfig:
    """Data sets and transforms."""

    format: Literal["coco", "voc", "synthetic"] = "coco"
    """How the annotations are stored; synthetic draws its own scenes."""
    root: str = ""
    """Folder of the data set, also looked for in $PSEUDO_IOU_OPS_DATA and in datasets/; synthetic: its cache."""
    train: SplitConfig = field(default_factory=SplitConfig)
    val: SplitConfig = field(default_factory=SplitConfig)
    classes: tuple[str, ...] = ()
    """Class names in the order of the labels 0..C-1. Needed by voc; coco keeps only the classes named."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    max_pixels: Positive = 178_956_970
    """Most pixels of an image file; a larger one is refused, because a small file can fill the memory."""
    keep_empty: bool = True
    """Train on images without boxes too."""
    ignore_regions: bool = False
    """Pass crowd and difficult boxes to the assignment as regions to ignore; otherwise drop them."""
    ignore_padding: bool = False
    """Ignore points in the padding of a batch; otherwise they are background."""
    short_sides: Annotated[tuple[Positive, ...], Field(min_length=1)] = (800,)
    """Training images are resized to a shorter side drawn from these."""
    eval_short_side: Positive = 800
    """Shorter side at evaluation and prediction."""
    max_side: Positive = 1333
    """The longer side is never resized beyond this."""
    flip: Share = 0.5
    """Probability of a horizontal flip in training."""
    group_by_shape: bool = True
    """Make training batches of wide or of tall images, which saves padding."""
    workers: NotNegative = 2
    """Loader processes; 0 loads in the main process."""


@dataclass(frozen=True)
class ModelConfig:
    """The network: ResNet, feature pyramid P3..P7, two head branches."""

    backbone: Backbone = "resnet50"
    """A torchvision network; resnet10 is one of a block a stage, to learn from random weights on a CPU."""
    weights: str = "imagenet"
    """none, imagenet (torchvision's, downloaded once) or a file, also looked for in $PSEUDO_IOU_OPS_DATA."""
    norm: Literal["frozen", "batch"] = "frozen"
    """Batch normalisation of the backbone: fixed at the loaded statistics, or trained."""
    trainable_stages: Annotated[int, Field(ge=0, le=5)] = 3
    """How many backbone stages train, counted from the last: 5 is all, 3 freezes the stem and layer1."""
    stride_in_1x1: bool = False
    """Stride 2 on the 1x1 convolution of a bottleneck, as Caffe weights need it."""
    pixels: Literal["rgb", "caffe"] = "rgb"
    """What the weights were trained on: rgb over ImageNet's mean and deviation, or caffe's bgr minus the mean."""
    feature_cache: str = ""
    """A folder in which to keep what a wholly frozen backbone makes of each image; empty keeps nothing."""
    deformable: bool = False
    """Modulated deformable 3x3 convolutions (DCNv2) in the last three stages, c3-c5."""
    deform_groups: Positive = 4
    """Groups of input channels with offsets of their own."""
    channels: Positive = 256
    """Channels of the pyramid and of the head."""
    head_convs: NotNegative = 4
    """3x3 convolutions in each head branch."""
    norm_groups: Positive = 32
    """Groups of the head's group normalisation."""
    prior_probability: InnerShare = 0.01
    """Class score that the head starts from."""
    box_activation: Literal["exp", "relu"] = "exp"
    """From a box output x to a distance in strides: exp(scale * x), or relu(scale * x)."""
    centerness: bool = False
    """Add FCOS's centerness output to the box branch; it multiplies the scores."""


@dataclass(frozen=True)
class LossConfig:
    """Loss = focal + box_weight * box (+ centerness), each divided by the number of positives.

    With an assign.kind that reads predictions, class scores learn soft targets by the quality focal loss. These weigh
    the boxes too, and their sum divides both.
    """

    implementation: Literal["fused", "torch"] = "fused"
    """fused takes pseudo_iou_ops' losses, torch says the same in plain torch, with many times the memory."""
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    box: Literal["iou", "giou"] = "iou"
    """iou is -log(IoU) as in UnitBox, which the paper cites; giou is 1 - GIoU."""
    box_weight: float = 1.0
    """The paper's lambda."""
    weight_boxes_by_centerness: bool = False
    """FCOS's box loss: points weigh as their centerness, and the weights' sum divides."""
    quality_beta: NotNegativeNumber = 0.0
    """Of the class loss on soft targets: 0 is the cross entropy, 2 the quality focal loss."""


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser and its schedule."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The paper's is sgd; adamw learns faster in a short run from random initialisation."""
    lr: float = 0.01
    momentum: float = 0.9
    """The momentum of sgd; adamw does not read it."""
    weight_decay: float = 1e-4
    bias_lr_factor: float = 1.0
    """The rate of the convolutions' biases is this times the others'."""
    decay_biases: bool = True
    """Whether weight_decay reaches the convolutions' biases."""
    warmup: Literal["linear", "constant"] = "linear"
    """Rise from warmup_factor * lr, or stay there, during the warm-up."""
    warmup_iterations: NotNegative = 500
    warmup_factor: float = 0.1
    decay_at: tuple[InnerShare, ...] = ()
    """Fractions of the run after which decay_factor multiplies the rate: 8 of 12 epochs is 0.6666667."""
    decay_factor: float = 0.1
    clip_grad_norm: float = 35.0
    """Largest gradient norm; 0 does not clip."""


@dataclass(frozen=True)
class TrainConfig:
    """Length, batch, seed and logging of a run."""

    epochs: Positive = 12
    iterations: Positive | None = None
    """Length in iterations; if given, epochs is not read."""
    batch_size: Positive = 16
    """Images of an iteration, of all processes together."""
    seed: int = 0
    log_every: Positive = 20
    """Iterations between two lines of the log."""
    save_every: Positive = 1000
    """Iterations between two checkpoints; the end is always saved."""
    device: str = "auto"
    """auto takes CUDA if there is one."""
    channels_last: bool = False
    """Memory layout of images and convolutions."""
    amp: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network in training; assignment, decoding and losses are float32 always."""
    ema: ShareBelowOne = 0.0
    """Decay of a moving average of the weights, which is then what is evaluated; 0 keeps none."""
    compile: bool = False
    """Compile backbone, pyramid and head with torch.compile."""
    deterministic: bool = False
    """Use deterministic kernels where torch has them, and warn where it has none."""
    keep_every: NotNegative = 0
    """Iterations between two checkpoints that stay, as step_<n>.pt; 0 keeps last.pt alone."""
    eval_every: NotNegative = 0
    """Iterations between two evaluations on the validation split, the best kept as best.pt; 0 does none."""
    tensorboard: bool = False
    """Write the figures of metrics.jsonl for TensorBoard too."""


@dataclass(frozen=True)
class PostprocessConfig:
    """From the network's outputs to detections."""

    score_threshold: ShareBelowOne = 0.05
    candidates_per_level: Positive = 1000
    nms_threshold: Share = 0.5
    detections_per_image: Positive = 100


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation."""

    batch_size: Positive = 8
    limit: Positive | None = None
    """Evaluate the first images only."""
    protocol: Literal["auto", "coco", "voc"] = "auto"
    """coco: COCO's average precision. voc: VOC's mAP too, 11-point and area. auto: what the data's format is."""
    backend: Literal["pycocotools", "hotcoco"] = "pycocotools"
    """Computes COCO's figures; hotcoco gives the same ones faster and is installed by the extra fast-eval."""
    max_detections: Annotated[int, Field(gt=10)] = 100
    """Detections of an image that COCO's figures count, the best; COCO's own are of 100."""
    voc_inclusive_pixels: bool = True
    """For VOC's mAP, a side is x2 - x1 + 1 pixels, as in the VOC development kit."""


@dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    data: DataConfig = field(default_factory=DataConfig)
    assign: AssignConfig = field(default_factory=AssignConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


def bundled(path: Path, folder: Path = Path()) -> Path:
    """``path`` from a folder, or where there is no such file, from this package: ``configs/demo.yaml``."""
    own = Path(__file__).parent / path
    return own if own.is_file() and not (folder / path).exists() else folder / path


def load_config(path: Path) -> Config:
    """Read a YAML file, on top of the one its ``base:`` key may name; unknown keys raise UsageError."""
    path = bundled(path)
    return config_from_dict(_values_of(path, ()), source=str(path))


def _values_of(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file and its bases; ``above`` are the files that are built on it."""
    if path in above:
        raise UsageError(f"{path}: base: the file is a base of its own")
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    return merged(_values_of(bundled(Path(str(base)), path.parent), (*above, path)), values)


def config_from_dict(values: dict[str, Any], source: str) -> Config:
    """Build and check a configuration; ``source`` is named in the error."""
    return dataclass_from_dict(Config, values, source)


def dataclass_from_dict(kind: type[T], values: dict[str, Any], source: str = "") -> T:
    """Build a dataclass of dataclasses.

    Raises:
        UsageError: a key is unknown, or a value is not in its field's domain. It names ``source`` and the field.
    """
    try:
        return TypeAdapter(kind).validate_python(values, extra="forbid")
    except ValidationError as error:
        message = "; ".join(_message(problem) for problem in error.errors())
        raise UsageError(f"{source}: {message}" if source else message) from None


def config_to_dict(config: Config) -> dict[str, Any]:
    """Plain dicts, lists, strings, numbers, None: what YAML, JSON and torch.load(weights_only=True) take."""
    return _plain(dataclasses.asdict(config))  # type: ignore[no-any-return]


def config_to_yaml(config: Config) -> str:
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def check_config(config: Config) -> None:
    """Check the values of all fields, and those that several have to agree on; raises UsageError."""
    dataclass_from_dict(Config, dataclasses.asdict(config))
    config.assign.rule()
    config.assign.initial_rule()
    _check_soft_targets(config)
    _check_feature_cache(config)
    classes, model = config.data.classes, config.model
    if len(set(classes)) != len(classes):
        raise UsageError(f"data.classes: expected each class once, got {', '.join(classes)}")
    if model.weights == "none" and (model.norm, model.trainable_stages) != ("batch", 5):
        raise UsageError(
            "model.weights: expected pretrained weights, or model.norm batch and model.trainable_stages 5 to train "
            f"from random ones, got none with {model.norm} and {model.trainable_stages}"
        )
    if model.channels % model.norm_groups:
        raise UsageError(
            f"model.channels: expected a multiple of model.norm_groups, {model.norm_groups}, got {model.channels}"
        )


def _check_soft_targets(config: Config) -> None:
    """Where class scores learn how well a box fits, a centerness has nothing left to tell."""
    assign, loss = config.assign, config.loss
    if not assign.reads_predictions:
        if loss.quality_beta:
            raise UsageError(
                f"loss.quality_beta: expected 0 with assign.kind {assign.kind}, which gives no soft targets, "
                f"got {loss.quality_beta:g}"
            )
        return
    for name, is_set in (
        ("model.centerness", config.model.centerness),
        ("loss.weight_boxes_by_centerness", loss.weight_boxes_by_centerness),
    ):
        if is_set:
            raise UsageError(
                f"{name}: expected False with assign.kind {assign.kind}, whose class scores learn how well the box "
                "fits, got True"
            )


def _check_feature_cache(config: Config) -> None:
    """Features that are kept are those of every step: of fixed weights, in one precision."""
    if not config.model.feature_cache:
        return
    for name, expected, value in (
        ("model.trainable_stages", 0, config.model.trainable_stages),
        ("model.norm", "frozen", config.model.norm),
        ("train.amp", "fp32", config.train.amp),
        ("train.compile", False, config.train.compile),
    ):
        if value != expected:
            raise UsageError(f"{name}: expected {expected} with model.feature_cache, got {value}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The sections of a YAML file; raises a UsageError that names it."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected sections such as 'data:', got {type(values).__name__}")
    return values


def merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``values``, section by section."""
    result = dict(base)
    for name, value in values.items():
        inherited = result.get(name)
        both = isinstance(inherited, dict) and isinstance(value, dict)
        result[name] = merged(inherited, value) if both else value  # type: ignore[arg-type]
    return result


# The kinds of pydantic's errors that have plainer words than its own.
_EXPECTED = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "at least {min_length} value",
    "literal_error": "{expected}",
    "missing": "a value",
    "tuple_type": "a list",
    "dataclass_type": "a section of options",
}


def _message(problem: Any) -> str:
    """The field, what it expects and what came."""
    name = ".".join(str(part) for part in problem["loc"])
    kind = problem["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{name}: no such option"
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**problem.get("ctx", {}))
    else:  # "Input should be a valid integer, unable to parse string as an integer"
        expected = problem["msg"].removeprefix("Input should be ").partition(", ")[0]
    return f"{name}: expected {expected}, got {problem['input']!r}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
