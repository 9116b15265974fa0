"""What an import pulls in, and what an install that lacks something says."""

from __future__ import annotations

import importlib.machinery
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pseudo_iou_ops

PACKAGE = Path(pseudo_iou_ops.__file__).parent


def python(code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=cwd)


def test_import_pulls_in_nothing_but_torch() -> None:
    done = python(
        """
        import sys, torch
        before = set(sys.modules)
        import pseudo_iou_ops
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        print(sorted(new - {"pseudo_iou_ops", "torch"} - sys.stdlib_module_names))
        print([m for m in ("torchvision", "matplotlib", "pycocotools") if m in sys.modules])
        """
    )
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stdout + done.stderr


HIDE = """
    import sys
    class Hide:
        def find_spec(self, name, path=None, target=None):
            if name == "pseudo_iou_ops.{module}":
                raise {error}
    sys.meta_path.insert(0, Hide())
"""

CALL_ON_CUDA = """
    import torch, pseudo_iou_ops
    from torch._subclasses.fake_tensor import FakeTensorMode
    with FakeTensorMode():
        boxes = torch.empty(3, 4, device="cuda")
        labels = torch.empty(3, dtype=torch.int64, device="cuda")
        pseudo_iou_ops.assign(boxes, labels, torch.empty(2, dtype=torch.int64), [(4, 4)], [8])
"""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ('ModuleNotFoundError("no such module")', "was built without CUDA"),
        ('ImportError("libcudart.so.13: no such file")', "libcudart.so.13: no such file"),
    ],
)
def test_cuda_tensor_without_cuda_library(error: str, cause: str) -> None:
    cuda_torch = 'import torch; torch.version.cuda = torch.version.cuda or "13.0"'
    done = python(
        cuda_torch + textwrap.dedent(HIDE.format(module="_C_cuda", error=error)) + textwrap.dedent(CALL_ON_CUDA)
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: boxes: expected a device with kernels, got cuda"), done.stderr
    assert cause in last
    assert "PSEUDO_IOU_OPS_CUDA=on pip install --no-build-isolation" in last


def test_cuda_tensor_with_a_cpu_torch() -> None:
    done = python("import torch; torch.version.cuda = None" + textwrap.dedent(CALL_ON_CUDA))
    last = done.stderr.strip().splitlines()[-1]
    assert "this torch is a CPU build; install a CUDA build of torch" in last, done.stderr


def test_missing_cpu_library() -> None:
    error = 'ImportError("undefined symbol: f")'
    done = python(textwrap.dedent(HIDE.format(module="_C", error=error)) + "import pseudo_iou_ops")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: pseudo_iou_ops: its compiled library _C could not be loaded"), done.stderr
    assert "undefined symbol: f" in last
    assert "pip install --no-build-isolation -e ." in last


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the package's sources, where nothing was built."""
    shutil.copytree(PACKAGE, tmp_path / "checkout" / PACKAGE.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path / "checkout"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another package of the same name, with a file where its library would be; it is found, not loaded."""
    folder = tmp_path / "site" / PACKAGE.name
    folder.mkdir(parents=True)
    (folder / f"_C{importlib.machinery.EXTENSION_SUFFIXES[-1]}").touch()
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    return folder


def test_sources_that_shadow_an_installed_package(checkout: Path, installed: Path) -> None:
    expected = (
        f"pseudo_iou_ops: {checkout / PACKAGE.name} is the source folder of a checkout, which holds no compiled "
        f"library and shadows the installed package in {installed}: run `pip install --no-build-isolation -e .` in "
        f"{checkout}, or run Python from another folder."
    )
    assert python("import pseudo_iou_ops", cwd=checkout).stderr.endswith(f"\nImportError: {expected}\n")
    assert_one_line(checkout, expected)


def test_sources_with_nothing_installed(checkout: Path) -> None:
    expected = (
        f"pseudo_iou_ops: {checkout / PACKAGE.name} is the source folder of a checkout, which holds no compiled "
        f"library: run `pip install --no-build-isolation -e .` in {checkout}."
    )
    assert python("import pseudo_iou_ops", cwd=checkout).stderr.endswith(f"\nImportError: {expected}\n")
    assert_one_line(checkout, expected)


def assert_one_line(checkout: Path, text: str) -> None:
    """``python -m`` says it without a traceback."""
    done = subprocess.run([sys.executable, "-m", "pseudo_iou_ops.env"], capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


@pytest.mark.parametrize(("package", "command"), [("tyro", "--help"), ("matplotlib", "assign-view")])
def test_detector_without_its_packages(package: str, command: str) -> None:
    """Whether the command line needs it, or a command when it runs."""
    done = python(
        f"""
        import runpy, sys
        sys.modules["{package}"] = None
        sys.argv[1:] = ["{command}"]
        runpy.run_module("detector", run_name="__main__")
        """,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"detector: error: no package {package}; in the checkout, pip install "), done.stderr
    assert done.stderr.count("\n") == 1


def test_env_report() -> None:
    done = subprocess.run([sys.executable, "-m", "pseudo_iou_ops.env"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for fact in ("pseudo_iou_ops", "torch", "CPU kernels", "CUDA kernels", "GPU"):
        assert f"\n{fact} " in "\n" + done.stdout


def test_all_names_exist() -> None:
    for name in pseudo_iou_ops.__all__:
        assert hasattr(pseudo_iou_ops, name)
