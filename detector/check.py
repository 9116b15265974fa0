"""The command ``data check``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import yaml

from .config import Config, DataConfig, check_config, config_to_dict, load_config
from .data.check import DataReport, by_kind, check_data
from .data.layout import find_data
from .errors import UserError


def data_config_of(target: Path) -> Config:
    """The configuration in a YAML file, or one for the data set in a folder; raises UserError."""
    if target.suffix in (".yaml", ".yml"):
        return load_config(target)
    return Config(data=find_data(target))


def run_data_check(
    config: Config, target: Path, decode: bool, output: Literal["text", "json"], limit: int
) -> DataReport:
    """Print what :func:`check_data` finds; raises UserError if there is an error among it."""
    check_config(config)
    report = check_data(config.data, decode)
    print(_as_json(report) if output == "json" else _as_text(report, config.data, target, limit))
    errors = report.count("error")
    if errors:
        raise UserError(f"{target}: errors in the data set: {errors}")
    return report


def _as_json(report: DataReport) -> str:
    return json.dumps(dataclasses.asdict(report), indent=1)


def _as_text(report: DataReport, config: DataConfig, target: Path, limit: int) -> str:
    lines = []
    for split, counts in report.splits.items():
        lines.append(
            f"{split}: {counts.images} images, {counts.empty} of them without a box; {counts.boxes} boxes, "
            f"and {counts.ignored} to ignore"
        )
    lines += ["", *_class_table(report), ""]
    for (severity, kind), messages in by_kind(report.problems).items():
        lines.append(f"{severity}: {kind}: {len(messages)}")
        lines += [f"  {message}" for message in messages[:limit]]
        if len(messages) > limit:
            lines.append(f"  and {len(messages) - limit} more; --limit shows them")
    lines.append(f"errors: {report.count('error')}, warnings: {report.count('warning')}")
    if target.is_dir():
        lines += ["", "as a configuration:", _as_yaml(config)]
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
