"""Will it learn? The failures that raise no error, found before training.

Taught in: notebooks/04_formatting.ipynb, notebooks/99_troubleshooting.ipynb
"""

from onegpu.preflight.data import check_data
from onegpu.preflight.findings import KINDS, Finding, Findings
from onegpu.preflight.trainer import check

__all__ = ["KINDS", "Finding", "Findings", "check", "check_data"]
