"""The command line of `onegpu`, under the name that it had before."""

import sys

from onegpu.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
