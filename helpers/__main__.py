"""The command line of `onegpu`, whose doctor looks at the course as well."""

from __future__ import annotations  # as in `onegpu.__main__`

import sys
from typing import TYPE_CHECKING

from onegpu.__main__ import main

if TYPE_CHECKING:
    from onegpu.doctor import Check


def _examine() -> list[Check]:
    from helpers import doctor  # not above: a Python that is too old gets as far as being told so

    return doctor.examine()


if __name__ == "__main__":
    sys.exit(main(examine=_examine))
