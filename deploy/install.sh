#!/bin/sh
# Install the course and JupyterLab beside the torch that the image brings: it fits the driver.
set -eu
cd "$(dirname "$0")/.."
grep -v '^torch==' constraints.txt > /tmp/constraints.txt
python3 -m pip install --constraint /tmp/constraints.txt --requirement requirements.txt jupyterlab
python3 -m pip install --no-deps --editable .
