"""Installs the named extras of pyproject.toml without building the project: ``install_extras.py detector dev``."""

import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # the copy pip itself uses
    from pip._vendor import tomli as tomllib

root = Path(__file__).resolve().parents[1]
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
packages = [package for extra in sys.argv[1:] for package in extras[extra]]
options = ["-q", "--no-compile", "-c", str(root / "constraints.txt")]
subprocess.run([sys.executable, "-m", "pip", "install", *options, *packages], check=True)
