"""Drawings of a training step: its order, and its number types."""

from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, Box, arrow, box, canvas, connect, key, label, route
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["step_dtypes", "training_step"]

# The stations of a step, and the code of each.
STATIONS = {
    "batch": "for batch\nin loader",
    "forward": "model(\n**batch)",
    "loss": ".loss",
    "backward": "loss\n.backward()",
    "clip": "clip_grad\n_norm_()",
    "step": "optimizer\n.step()",
    "zero grad": "optimizer\n.zero_grad()",
}
PITCH = 1.03  # from one station to the next, in inches


def training_step(*, ax: "Axes | None" = None) -> "Axes":
    """Draw a training step as a loop, and under each station what is in memory.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the stations above, a bar for each kind of memory below.

    Taught in: notebooks/05_training.ipynb
    """
    ax = canvas(7.4, 4.5, title="One training step, and what it keeps in memory", ax=ax)
    stations = []
    for i, (name, code) in enumerate(STATIONS.items()):
        x, role = 0.1 + PITCH * (i + 0.5), "data" if name == "batch" else "plain"
        text = name.replace(" ", "\n")
        stations.append(box(ax, (x, 3.4), text, size=(0.84, 0.44), role=role))
        label(ax, (x, 2.93), code, size=SMALL, code=True, soft=True)
        if i:
            connect(ax, stations[-2], stations[-1])
    batch, backward, zero_grad = stations[0], stations[3], stations[-1]
    _back(ax, backward, batch, height=3.95, aside=0.14, text="next micro-batch (accumulation)")
    _back(ax, zero_grad, batch, height=4.35, aside=-0.14, text="next step")
    _memory(ax)
    return describe(
        ax,
        "Batch, forward, loss, backward, clip, step, zero grad, and back to the next batch; with "
        "accumulation backward goes back to the next micro-batch several times first. Weights and "
        "optimizer states are in memory all the time. Activations pile up in the forward pass and "
        "go in the backward pass; gradients come in the backward pass and stay until zero grad.",
    )


def _back(ax: "Axes", start: Box, end: Box, *, height: float, aside: float, text: str) -> None:
    (x0, y0), (x1, y1) = start.top, end.top
    points = [(x0, y0), (x0, height), (x1 + aside, height), (x1 + aside, y1)]
    route(ax, points, text=text, dashed=aside > 0)


def _memory(ax: "Axes") -> None:
    """Draw a bar for each kind of memory, over the stations at which it is there."""
    from matplotlib.patches import Polygon

    edges = [0.1 + PITCH * i for i in range(len(STATIONS) + 1)]
    for x in edges[1:-1]:
        ax.plot([x, x], [0.05, 2.42], color="#E4E4E4", lw=0.8, zorder=0)
    label(ax, (edges[0], 2.5), "in memory", size=SMALL, align="left", bold=True)
    shapes = {  # row: text, its place, and corners, counted in stations and in heights
        2.1: ("activations", 2.5, [(1, 0), (2, 1), (3, 1), (4, 0)]),
        1.5: ("gradients", 5.0, [(3, 0), (4, 1), (6, 1), (6.5, 0)]),
        0.9: ("optimizer states (made in the first step)", 3.5, [(0, 0), (0, 1), (7, 1), (7, 0)]),
        0.3: ("weights", 3.5, [(0, 0), (0, 1), (7, 1), (7, 0)]),
    }
    colors = ROLES["memory"]
    for y, (text, place, corners) in shapes.items():
        points = [(edges[0] + PITCH * x, y - 0.2 + 0.4 * up) for x, up in corners]
        ax.add_patch(Polygon(points, fc=colors.fill, ec=colors.edge, lw=1.3, zorder=2))
        label(ax, (edges[0] + PITCH * place, y), text, role="memory")
    still = box(ax, (edges[0] + 1.5 * PITCH, 1.5), size=(3 * PITCH - 0.1, 0.4), dashed=True)
    label(ax, (still.x, still.y), "gradients of earlier micro-batches", size=SMALL, soft=True)


# The columns of `step_dtypes`, and the middle of its lanes, in inches.
COLUMNS = (1.5, 2.83, 4.14, 5.42, 6.68)
TOP, MIDDLE, LOW = 3.9, 2.35, 0.95
SIZE = (1.1, 0.56)


def step_dtypes(compute: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw which number type each thing in a QLoRA step has, in a lane for each width in bits.

    Args:
        compute: What it computes in: `"bf16"`, or `"fp16"`, which adds the scaling of the loss.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: It computes in something else.

    Taught in: notebooks/05_training.ipynb
    """
    if compute not in ("bf16", "fp16"):
        raise ValueError(f"compute is {compute!r}: choose 'bf16' or 'fp16'")
    ax = canvas(
        7.4, 4.75, title=f"Number types in a QLoRA step that computes in {compute.upper()}", ax=ax
    )
    for y, bits, dtype in ((TOP, 32, "FP32"), (MIDDLE, 16, compute.upper()), (LOW, 4, "NF4")):
        _lane(ax, y, bits=bits, dtype=dtype)
    _forward(ax)
    _backward(ax, is_scaled=compute == "fp16")
    key(ax, (0.14, 0.2), ["frozen", "trained", "plain"])
    scaling = ", which is multiplied by a scale" if compute == "fp16" else ""
    return describe(
        ax,
        "In 4 bits: the linear layers of the base model, dequantized to 16 bits when it computes. "
        "In 16 bits: these copies, its embeddings and norms, activations and logits, and the "
        f"gradients of activations. In 32 bits: the adapter, the loss{scaling}, the gradients of "
        "the adapter, and the optimizer's states, "
        "from which the adapter is updated.",
    )


def _lane(ax: "Axes", y: float, *, bits: int, dtype: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((0.02, y - 0.46), 7.36, 0.92, fc="#F5F5F5", ec="none", zorder=0))
    label(ax, (0.14, y + 0.1), dtype, align="left", bold=True)
    label(ax, (0.14, y - 0.12), f"{bits} bits", size=SMALL, align="left", soft=True)


def _forward(ax: "Axes") -> None:
    first, second = COLUMNS[:2]
    adapter = box(ax, (first, TOP), "adapter", size=SIZE, role="trained")
    base = box(ax, (first, LOW), "linear\nlayers", size=SIZE, role="frozen")
    wider = (SIZE[0] + 0.2, SIZE[1])
    box(ax, (COLUMNS[-1] - 0.1, MIDDLE), "embeddings\nand norms", size=wider, role="frozen")
    copies = box(ax, (first, MIDDLE), "copies to\ncompute with", size=SIZE, dashed=True)
    activations = box(ax, (second, MIDDLE), "activations,\nlogits", size=SIZE)
    connect(ax, adapter, copies, text="cast")
    connect(ax, base, copies, text="dequantize")
    connect(ax, copies, activations)
    connect(ax, activations, box(ax, (second, TOP), "loss", size=SIZE), text="cast")


def _backward(ax: "Axes", *, is_scaled: bool) -> None:
    first, second, third, fourth, last = COLUMNS
    backward = box(ax, (third, MIDDLE), "gradients of\nactivations", size=SIZE)
    gradients = box(ax, (fourth, TOP), "gradients of\nadapter", size=SIZE)
    states = box(ax, (last, TOP), "optimizer\nstates", size=SIZE)
    loss = (second + SIZE[0] / 2, TOP)
    if is_scaled:
        scaled = box(ax, (third, TOP), "loss × scale", size=SIZE)
        arrow(ax, loss, scaled.left)
        connect(ax, scaled, backward, text="cast")
        check = (fourth + last) / 2  # on the way from the gradients to the optimizer
        arrow(ax, (check, TOP - 0.5), (check, TOP - 0.06))
        remark = "inf or NaN here?\nSkip this step,\nhalve the scale"
        label(ax, (check - 0.1, (TOP + MIDDLE) / 2), remark, size=SMALL, align="left", soft=True)
    else:
        way = [loss, (third, TOP), (third, TOP - SIZE[1] / 2), backward.top]
        route(ax, way, text="cast")
    way = [backward.right, (fourth, MIDDLE), (fourth, MIDDLE + SIZE[1] / 2), gradients.bottom]
    route(ax, way, text="cast, ÷ scale" if is_scaled else "cast")
    connect(ax, gradients, states)
    above = TOP + 0.66
    way = [states.top, (last, above), (first, above), (first, TOP + SIZE[1] / 2)]
    route(ax, way, text="update", role="trained")
