import sys
import warnings

from .cli import main

if not sys.warnoptions:  # who asks for warnings, by -W or PYTHONWARNINGS, gets them
    warnings.simplefilter("ignore", FutureWarning)  # of libraries, about what this program calls: no user can act on it

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
