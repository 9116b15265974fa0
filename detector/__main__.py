import sys
import warnings

if not sys.warnoptions:  # who asks for warnings, by -W or PYTHONWARNINGS, gets them
    warnings.simplefilter("ignore", FutureWarning)  # of libraries, about what this program calls: no user can act on it


def run() -> int:
    """The command line's exit status; a package that is missing, whoever imports it, is told of in one line."""
    try:
        from .cli import main

        return main(sys.argv[1:])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", __package__):  # a fault of the detector, not of its installation
            raise
        install = "pip install --no-build-isolation -e '.[detector]'"
        print(f"detector: error: no package {package}; in the checkout, {install}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run())
