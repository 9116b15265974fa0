"""A fuzz target for atheris: the readers of annotations and images on files changed at random.

The strategies of the tests turn the engine's bytes into files, so that what it finds is worth more than noise:
coverage of the readers steers which changes are tried next. Options are libFuzzer's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with atheris.instrument_imports(include=["detector.data"]):
    from changed_files import check_changed_bytes, check_changed_coco_file


def main() -> None:
    with tempfile.TemporaryDirectory() as name:

        @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(data=st.data())
        def read(data: st.DataObject) -> None:
            check = data.draw(st.sampled_from((check_changed_coco_file, check_changed_bytes)))
            check(data, Path(name))

        atheris.Setup(sys.argv, read.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
        atheris.Fuzz()


if __name__ == "__main__":
    main()
