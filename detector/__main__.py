import sys
import warnings

try:
    from .cli import main
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package in ("", __package__):  # a fault of the detector, not of its installation
        raise
    install = "pip install --no-build-isolation -e '.[detector]'"
    sys.exit(f"detector: error: no package {package}; in the checkout, {install}")

if not sys.warnoptions:  # who asks for warnings, by -W or PYTHONWARNINGS, gets them
    warnings.simplefilter("ignore", FutureWarning)  # of libraries, about what this program calls: no user can act on it

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
