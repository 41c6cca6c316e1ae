"""A pytest plugin that makes nbval compare what JupyterLab would have stored, strictly.

nbval 0.11 alone
- runs cells without history, so that a trailing `;` does not silence a cell;
- leaves pytest's variable in the kernel's environment, which makes ipykernel lose the output of
  subprocesses;
- ignores `clear_output` and updated displays;
- compares no images, not even their number;
- passes a stored cell that was never run;
- compares numbers letter by letter.

Each is closed here by wrapping the one method of nbval that decides it. Decimals may differ in
their last digits. In a cell tagged `within-2` counts such as `38 of 40` and whole percentages such
as `95 %` may differ by 2. And the seconds that each notebook took are printed at the end. Load it
with `pytest -p strict_nbval --nbval`.
"""

import base64
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import nbval.kernel
import nbval.plugin

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-4, 1e-6
IMAGE_TOLERANCE_PIXELS = 16  # of pictures at twice their size: another font moves a box by a few
DECIMAL = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)(?![\w.])")
# The 38 of `38 of 40`, and the 95 of `95 %`; the 40 must stay.
COUNT = re.compile(r"(?<![\w.,])(?<!\d[eE][-+])(?:\d+(?= of \d)|-?\d+(?=\s?%))")
WITHIN = re.compile(r"within-([1-9]\d*)")


def allowed(tags: Iterable[str]) -> int:
    """Return by how much the counts of a cell with these tags may differ."""
    return max((int(m[1]) for m in map(WITHIN.fullmatch, tags) if m), default=0)


def largest_difference(stored: str, new: str) -> tuple[int, str]:
    """Return how far the counts of two texts lie apart at most, and these two in words."""
    differences = []
    for a, b in zip(COUNT.finditer(stored), COUNT.finditer(new), strict=True):
        before, now = (re.match(r".\d*(?: of \d+|\s?%)", m.string[m.start() :])[0] for m in (a, b))
        differences.append((abs(int(a[0]) - int(b[0])), f"{before!r} is now {now!r}"))
    return max(differences, default=(0, ""))


def equal_but_for_counts(stored: str, new: str) -> bool:
    """Return whether two texts differ only in counts, and in decimals within the tolerance."""
    return equal_but_for_rounding(COUNT.sub("\0", stored), COUNT.sub("\0", new))


def equal_but_for_rounding(stored: str, new: str) -> bool:
    """Return whether two texts differ only in decimals, and in these within the tolerance."""
    if DECIMAL.sub("#", stored).split() != DECIMAL.sub("#", new).split():
        return False  # split: the padding of a table changes with the digits
    pairs = zip(DECIMAL.findall(stored), DECIMAL.findall(new), strict=True)
    return all(
        math.isclose(float(a), float(b), rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
        for a, b in pairs
    )


def images(outputs: list[Any]) -> list[tuple[str, int, int]]:
    """Return type, width and height in pixels of each PNG among a cell's outputs."""
    found = []
    for output in outputs:
        data = output.get("data", {}).get("image/png")
        if data:
            header = base64.b64decode(data[:64])
            width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
            found.append(("png", width, height))
    return found


def same_images(stored: list[Any], new: list[Any]) -> bool:
    """Return whether two cells show as many images of nearly the same sizes."""
    a, b = images(stored), images(new)
    return len(a) == len(b) and all(
        abs(x - y) <= IMAGE_TOLERANCE_PIXELS
        for one, other in zip(a, b, strict=True)
        for x, y in zip(one[1:], other[1:], strict=True)
    )


def _texts(outputs: list[Any]) -> Iterator[tuple[Any, str]]:
    """Yield each text among a cell's outputs as a container and its key."""
    for output in outputs:
        if output.output_type == "stream":
            yield output, "text"
        for key, value in sorted(output.get("data", {}).items()):
            if key.startswith("text/") and isinstance(value, str):
                yield output["data"], key


class _Outputs:
    """The outputs of the running cell, kept as a front end keeps them."""

    def __init__(self, cell: Any):
        self.cell = cell
        self.clear_next = False
        self.shown: dict[str, list[int]] = {}  # display id: where it stands

    @property
    def outputs(self) -> list[Any]:
        return self.cell.test_outputs  # nbval makes a new list at each run

    def clear(self) -> None:
        self.outputs.clear()
        self.shown.clear()
        self.clear_next = False

    def accept(self, message: dict[str, Any]) -> bool:
        """Take note of a message; return whether nbval should see it too."""
        kind, content = message["msg_type"], message["content"]
        display_id = content.get("transient", {}).get("display_id")
        if kind == "clear_output":
            if content.get("wait"):
                self.clear_next = True
            else:
                self.clear()
            return False
        if kind == "update_display_data":
            for place in self.shown.get(display_id, []):
                self.outputs[place]["data"] = content["data"]
                self.outputs[place]["metadata"] = content["metadata"]
            return False
        if kind in ("display_data", "execute_result", "stream", "error"):
            if self.clear_next:
                self.clear()
            if display_id is not None:
                self.shown.setdefault(display_id, []).append(len(self.outputs))
        return True


def _start_kernel_without_pytest(start: Callable) -> Callable:
    def start_new_kernel(*args: Any, **kwargs: Any) -> Any:
        env = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
        return start(*args, env=env, **kwargs)

    return start_new_kernel


def _execute_with_history(self: Any, cell_input: str, allow_stdin: bool | None = None) -> Any:
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def _fold_messages(get: Callable) -> Callable:
    def get_kernel_message(self: Any, timeout: float | None = None, stream: str = "iopub") -> Any:
        message = get(self, timeout=timeout, stream=stream)
        outputs = getattr(self, "strict_outputs", None)
        if outputs is None or outputs.accept(message):
            return message
        return {**message, "msg_type": "comm_msg"}  # nbval skips these

    return get_kernel_message


def _refuse_never_run(runtest: Callable) -> Callable:
    def strict_runtest(self: Any) -> Any:
        never_run = self.cell.source.strip() and self.cell.execution_count is None
        if never_run and not self.options["skip"]:
            self.raise_cell_error("the stored cell was never run (execution_count is null)")
        self.parent.strict_outputs = _Outputs(self)
        return runtest(self)

    return strict_runtest


def _compare_strictly(compare: Callable) -> Callable:
    def compare_outputs(self: Any, test: list, ref: list, skip_compare: Any = None) -> bool:
        if not same_images(ref, test):
            self.comparison_traceback = [
                f"the images differ: stored {images(ref)}, new {images(test)}"
            ]
            return False
        within = allowed(self.cell.metadata.get("tags", []))
        stored, new = list(_texts(ref)), list(_texts(test))
        too_far = []
        if len(stored) == len(new):
            for (old, old_key), (fresh, key) in zip(stored, new, strict=True):
                a, b = self.sanitize(old[old_key]), self.sanitize(fresh[key])
                if old_key != key or a == b or not equal_but_for_counts(a, b):
                    continue
                difference, change = largest_difference(a, b)
                if difference <= within:
                    fresh[key] = old[old_key]
                else:
                    too_far.append(f"{change}: off by {difference}, and {within} is allowed")
        same = compare(self, test, ref, skip_compare)
        self.comparison_traceback += too_far
        return same

    return compare_outputs


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the seconds of each notebook, its cells and the start of its kernel together."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and report.location[0].endswith(".ipynb"):
                seconds[report.location[0]] += report.duration
    for name, passed in seconds.most_common():
        terminalreporter.write_line(f"{passed:6.1f} s  {name}")


nbval.kernel.start_new_kernel = _start_kernel_without_pytest(nbval.kernel.start_new_kernel)
nbval.kernel.RunningKernel.execute_cell_input = _execute_with_history
nbval.plugin.IPyNbFile.get_kernel_message = _fold_messages(
    nbval.plugin.IPyNbFile.get_kernel_message
)
nbval.plugin.IPyNbCell.runtest = _refuse_never_run(nbval.plugin.IPyNbCell.runtest)
nbval.plugin.IPyNbCell.compare_outputs = _compare_strictly(nbval.plugin.IPyNbCell.compare_outputs)
