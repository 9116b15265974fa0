"""The command ``data check``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
import yaml

from ..config import Config, DataConfig, config_to_dict, load_config
from ..errors import UserError
from .options import Settings

if TYPE_CHECKING:
    from ..data.check import DataReport


@dataclass(frozen=True)
class DataCheckArguments:
    """Find what would break or spoil a training in a data set, and say in which file."""

    target: tyro.conf.Positional[Path] = tyro.MISSING
    """A folder in VOC's or COCO's layout, or a configuration."""
    decode: bool = True
    """Decode every image; otherwise only their heads are read, which misses truncated ones."""
    format: Literal["text", "json"] = "text"
    limit: int = 10
    """How many problems of a kind the text lists; json lists all."""
    settings: Settings = field(default_factory=Config)


def source(arguments: DataCheckArguments) -> Config:
    """The configuration in a YAML file, or one for the data set in a folder."""
    from ..data.layout import find_data

    if arguments.target.suffix in (".yaml", ".yml"):
        return load_config(arguments.target)
    return Config(data=find_data(arguments.target))


def run(arguments: DataCheckArguments) -> None:
    """Print what :func:`check_data` finds; raises UserError if there is an error among it."""
    from ..data.check import check_data

    report = check_data(arguments.settings.data, arguments.decode)
    print(json.dumps(dataclasses.asdict(report), indent=1) if arguments.format == "json" else _text(report, arguments))
    errors = report.count("error")
    if errors:
        raise UserError(f"{arguments.target}: errors in the data set: {errors}")


def _text(report: DataReport, arguments: DataCheckArguments) -> str:
    from ..data.problems import by_kind

    lines = []
    for split, counts in report.splits.items():
        lines.append(
            f"{split}: {counts.images} images, {counts.empty} of them without a box; {counts.boxes} boxes, "
            f"and {counts.ignored} to ignore"
        )
    lines += ["", *_class_table(report), ""]
    for (severity, kind), messages in by_kind(report.problems).items():
        lines.append(f"{severity}: {kind}: {len(messages)}")
        lines += [f"  {message}" for message in messages[: arguments.limit]]
        if len(messages) > arguments.limit:
            lines.append(f"  and {len(messages) - arguments.limit} more; --limit shows them")
    lines.append(f"errors: {report.count('error')}, warnings: {report.count('warning')}")
    if arguments.target.is_dir():
        lines += ["", "as a configuration:", _as_yaml(arguments.settings.data)]
    return "\n".join(lines)


def _class_table(report: DataReport) -> list[str]:
    """Boxes per class, a column per split, the label beside its class."""
    names = list(dict.fromkeys(name for counts in report.splits.values() for name in counts.per_class))
    width = max(map(len, ("class", *names)))
    lines = [f"label  {'class':<{width}}" + "".join(f"  {split:>7}" for split in report.splits)]
    for label, name in enumerate(names):
        columns = (f"  {counts.per_class.get(name, 0):>7}" for counts in report.splits.values())
        lines.append(f"{label:>5}  {name:<{width}}" + "".join(columns))
    return lines


def _as_yaml(config: DataConfig) -> str:
    """The data section; settings that have their default are left out."""
    section, default = (config_to_dict(Config(data=data))["data"] for data in (config, DataConfig()))
    shown = {"data": {"format": section["format"], **_differing(section, default)}}
    return yaml.safe_dump(shown, sort_keys=False, default_flow_style=None, width=110).rstrip()


def _differing(values: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _differing(value, default[name]) if isinstance(value, dict) else value
        for name, value in values.items()
        if value != default[name]
    }
