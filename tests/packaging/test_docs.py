"""The docs say what is so: blocks run, commands and files exist, error texts and figures are those of the sources."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import importlib.util
import inspect
import io
import itertools
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import BLOCKS, PAGES, Block, blocks_of
from error_texts import library_texts
from PIL import Image

import pseudo_iou_ops
from detector.commands.assign_view import AssignViewArguments
from detector.commands.compare import CompareArguments
from detector.commands.demo import DemoArguments, folder_of
from detector.config import config_to_dict, load_config
from detector.engine.checkpoint import save_checkpoint
from pseudo_iou_ops import integrations
from scripts import docs_hooks
from scripts.docs_benchmarks import PAGE, make_page
from scripts.docs_figures import (
    FAMILIES_CONFIG,
    FAMILIES_TRAINED_BY,
    PICTURES,
    draw_pseudo_box,
    draw_pyramid,
    is_families_network,
)

ROOT = Path(__file__).resolve().parents[2]
PICTURES_FOLDER = ROOT / "docs" / "images"
LARGEST_PICTURE = 150_000  # bytes


def commands_of(page: Path) -> list[str]:
    """Lines of shell blocks, and code spans, that begin with a command of this project."""
    lines = [line for block in blocks_of(page) if not block.language for line in block.text.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", page.read_text())
    return [
        text for text in (*lines, *spans) if re.match(r"(?:[A-Z_]+=\S+ )*(?:python|torchrun|make|scripts/)\b", text)
    ]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})


def install_detectron2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the two functions that make a model; detectron2 is not on PyPI."""
    from integrations.test_stand_ins import Fcos

    model_zoo = types.SimpleNamespace(get_config=lambda name: types.SimpleNamespace(model=Fcos))
    modules = {"detectron2": {"model_zoo": model_zoo}, "detectron2.config": {"instantiate": lambda model: model()}}
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


# Those that need mmdetection run in integrations/with_mmdetection.py.
RUN_HERE = [block for block in BLOCKS if block.language == "python" and block.project != "mmdet"]


@pytest.mark.parametrize("block", RUN_HERE, ids=lambda block: block.name)
def test_python_block_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.project == "detectron2":
        install_detectron2(monkeypatch)
    exec(compile(block.text, block.name, "exec"), {})


def public_objects() -> dict[str, Any]:
    """The functions and classes of the package, and those its adapters define."""
    found = {name: getattr(pseudo_iou_ops, name) for name in pseudo_iou_ops.__all__}
    for _, adapter, _ in pkgutil.iter_modules(integrations.__path__):
        if not adapter.startswith("_"):
            module = importlib.import_module(f"{integrations.__name__}.{adapter}")
            own = {name: member for name, member in vars(module).items() if not name.startswith("_")}
            found |= {
                f"{adapter}.{name}": member
                for name, member in own.items()
                if getattr(member, "__module__", "") == module.__name__
            }
    return {name: member for name, member in found.items() if inspect.isroutine(member) or inspect.isclass(member)}


PUBLIC = public_objects()


def test_adapters_are_among_the_public_objects() -> None:
    expected = {"assign", "AssignRule", "torchvision.use_in_fcos", "mmdetection.register", "yolo.YoloAssigner"}
    assert expected <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_has_an_example_that_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of mmdetection are compiled; integrations/with_mmdetection*.py run them."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert "\nExamples:\n" in text
    assert len(example.examples) >= 2
    if name.startswith(("mmdetection.", "mmdetection_tood.")) or name == "mmdetection_assigners.register_assigners":
        for part in example.examples:
            compile(part.source, name, "single")
        return
    if name.startswith("detectron2."):
        install_detectron2(monkeypatch)
    printed = io.StringIO()
    assert doctest.DocTestRunner().run(example, out=printed.write).failed == 0, printed.getvalue()


def test_every_block_is_found() -> None:
    """A fence that the expression above misses would be a block that is not run."""
    fences = sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {"", "python", "yaml", "diff"}
    assert {block.project for block in BLOCKS} == {"", "mmdet", "detectron2"}


@cache
def help_of(module: str, command: tuple[str, ...]) -> str:
    """What ``python -m MODULE COMMAND --help`` prints, of the detector with every option of the configuration."""
    main = importlib.import_module(f"{module}.cli").main
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        assert main([*command, "--help-all" if module == "detector" and command else "--help"]) == 0
    return text.getvalue().replace("_", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif "-m" in words:
        module, *arguments = words[words.index("-m") + 1 :]
        assert importlib.util.find_spec(module) is not None
        if module in ("detector", "benchmarks"):
            assert_options_exist(module, arguments)
    elif words[0] == "python" and len(words) > 1:
        assert (ROOT / words[1]).exists()
    elif words[0].startswith("scripts/"):
        assert (ROOT / words[0]).exists()


def assert_options_exist(module: str, arguments: list[str]) -> None:
    """Each option is one of the command's own; alternatives such as train|eval are each a command."""
    names = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    for name in names[0].split("|") if names else [""]:
        command = ("data", "check") if name == "data" else (name,) if name else ()
        listed = help_of(module, command)
        for option in (word.partition("=")[0] for word in arguments if word.startswith("--")):
            assert re.search(rf"(?<![\w.-]){option.replace('_', '-')}(?![\w.-])", listed), f"{name} has no {option}"
        for option, value in itertools.pairwise(arguments):
            section, _, field = option.replace("_", "-").rpartition(".")
            is_flag = option.startswith("--") and f"{section}.no-{field}" in listed
            assert not (is_flag and value in ("True", "False")), f"{option} is a flag, which takes no value"


def test_a_command_that_does_not_exist_is_found() -> None:
    assert_options_exist("detector", ["train", "--train.batch-size", "4", "--data.root=FOLDER"])
    with pytest.raises(AssertionError, match="train has no --train"):
        assert_options_exist("detector", ["train", "--train.batch-sizes", "4"])
    with pytest.raises(AssertionError):
        assert_options_exist("detector", ["trains"])
    with pytest.raises(AssertionError, match="is a flag"):
        assert_options_exist("detector", ["train", "--data.ignore-regions", "True"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_explained_errors_are_those_of_the_sources() -> None:
    """The troubleshooting page explains no error that is not raised any more."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text().partition("\n## Errors\n")[2]
    cells = re.findall(r"^\| (`.*?`) \| [^|]+ \|$", page, re.MULTILINE)
    listed = {cell.strip("`").rstrip() if cell.startswith("``") else cell[1:-1] for cell in cells}
    assert len(listed) == page.count("\n| `")
    assert sorted(listed - library_texts()) == []


def test_every_public_name_is_in_the_reference() -> None:
    listed = re.findall(r"^::: pseudo_iou_ops\.([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert set(pseudo_iou_ops.__all__) <= set(listed)


def test_the_benchmark_page_is_what_the_results_give() -> None:
    assert make_page() == PAGE.read_text(), "run python scripts/docs_benchmarks.py"


def test_the_drawn_figures_show_what_the_library_computes(tmp_path: Path) -> None:
    """The paper's Figure 1 has the value 0.57; its Figure 2 one region, seen on every level."""
    assert draw_pseudo_box(tmp_path / "pseudo_box.png") == pytest.approx(0.57, abs=0.005)
    positives = draw_pyramid(tmp_path / "pyramid.png")
    on_every_level, by_size = positives.values()
    assert on_every_level == sorted(on_every_level, reverse=True)
    assert min(on_every_level) > 0
    assert by_size[:2] == [0, 0]
    for file in tmp_path.iterdir():
        with Image.open(file) as new, Image.open(PICTURES_FOLDER / file.name) as stored:
            assert new.size == stored.size


def test_pictures_are_small_and_come_from_the_script() -> None:
    pages = [page.read_text() for page in (ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"\(images/([^)]+)\)", page)}
    stored_runs = [file.stem for file in (ROOT / "docs" / "results").glob("*.csv")]
    drawn = {f"{name}_{kind}.png" for name in stored_runs for kind in ("plot", "order")}  # by docs_reproduction.py
    measured = set(re.findall(r"--plot docs/images/(\S+)", (ROOT / "docs" / "benchmarks.md").read_text()))
    assert set(PICTURES) | drawn <= shown <= set(PICTURES) | drawn | measured
    assert all((PICTURES_FOLDER / name).stat().st_size < LARGEST_PICTURE for name in shown)


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [({}, 400, True), ({}, 399, False), ({"seed": 1}, 400, False), ({"iterations": 2}, 2, False)],
)
def test_the_families_are_drawn_by_the_documented_network(
    settings: dict[str, int], step: int, expected: bool, tmp_path: Path
) -> None:
    config = load_config(Path(FAMILIES_CONFIG))
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))
    classes = {"class_names": ["a"], "category_ids": [1]}
    save_checkpoint(tmp_path / "last.pt", model={}, step=step, config=config_to_dict(config), **classes)
    assert is_families_network(tmp_path / "last.pt") == expected


def test_a_picture_without_its_network_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    PICTURES["families.webp"](tmp_path / "families.webp")
    assert not (tmp_path / "families.webp").exists()
    assert FAMILIES_TRAINED_BY in capsys.readouterr().out
    assert FAMILIES_TRAINED_BY in (ROOT / "docs" / "assigners.md").read_text()


def test_what_the_commands_of_the_pages_write_is_ignored() -> None:
    """A clone stays as it was. The page of the benchmarks has the commands that made its own files."""
    texts = [page.read_text() for page in PAGES if page != PAGE]
    pattern = r"--(?:out|plot) ([\w./]+)|^cp -r \S+ (\S+)$|^Save this as `(\S+)`"
    written = {file for text in texts for found in re.findall(pattern, text, re.MULTILINE) for file in found if file}
    assert {"runs/comparison.png", "my_data", "mine.yaml"} <= written
    written |= {str(arguments.out) for arguments in (AssignViewArguments(), CompareArguments())}
    written.add(str(folder_of(DemoArguments())))
    for name in sorted(written):
        # --no-index: also of what git knows; a folder's rule needs the slash.
        names = [name, f"{name}/"]
        done = subprocess.run(["git", "check-ignore", "--no-index", *names], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, f"{name} would be left in a clone"


def test_the_worked_example_of_a_metric_works(tmp_path: Path) -> None:
    """Its patches fit, what they add to the headers compiles, and reference and oracle agree on the new metric."""
    for name in ("csrc", "pseudo_iou_ops", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".build"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    patches = "\n".join(block.text for block in BLOCKS if block.language == "diff")
    run_in(tmp_path, "patch", "-p1", "--fuzz=0", stdin=patches)
    run_in(tmp_path, "c++", "-std=c++17", "-fsyntax-only", "-x", "c++", "csrc/core/candidates.h")
    cases = ["tests/unit/test_assign_hand_written.py", "tests/unit/test_assign_reference.py", "tests/unit/test_rule.py"]
    chosen = "(ellipse and not op) or every_combination"
    done = run_in(tmp_path, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *cases, "-k", chosen)
    for case in ("scaled_ellipse[reference]", "scaled_ellipse[brute_force]", "test_every_combination_of_switches"):
        assert f"{case} PASSED" in done


def run_in(folder: Path, *command: str, stdin: str = "") -> str:
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page_of(source: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(file=types.SimpleNamespace(src_uri=source))


def test_links_out_of_the_site_become_paths() -> None:
    text = "See [CHANGELOG.md](../CHANGELOG.md), [the rule](../pseudo_iou_ops/rule.py#L1), [Design](design.md)."
    expected = "See `CHANGELOG.md`, the rule (`pseudo_iou_ops/rule.py`), [Design](design.md)."
    assert docs_hooks.on_page_markdown(text, page=page_of("index.md")) == expected


def test_assets_from_elsewhere_are_found(caplog: pytest.LogCaptureFixture) -> None:
    docs_hooks.on_post_page('<a href="https://elsewhere.org">a</a><img src="images/a.png">', page=page_of("a.md"))
    assert not caplog.records
    docs_hooks.on_post_page('<script async src="https://elsewhere.org/a.js"></script>', page=page_of("a.md"))
    assert ["loads from elsewhere" in record.getMessage() for record in caplog.records] == [True]
