"""Checks of the exercises in notebooks/03_lora.ipynb."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3"]


def exercise_1(thin_out: "Callable[[torch.Tensor, int], torch.Tensor]") -> str | None:
    """Check the best approximation of a rank."""
    import torch

    matrix = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(matrix)
    for r in (1, 3, 6):
        found = thin_out(matrix, r)
        if found.shape != matrix.shape:
            return f"a matrix of shape (6, 9) stays of that shape, yours is {tuple(found.shape)}"
        rank = int(torch.linalg.matrix_rank(found, rtol=1e-4))
        if rank > r:
            return f"asked for rank {r}, your matrix has rank {rank}"
        least, error = values[r:].square().sum().sqrt().item(), (matrix - found).norm().item()
        if error > least + 1e-3:
            return f"at rank {r} an error of {least:.3f} is possible, yours is {error:.3f}"
    return None


def exercise_2(merge: "Callable[..., torch.Tensor]") -> str | None:
    """Check the merged weight."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for r, alpha in ((4, 4.0), (2, 8.0)):
        weight, a, b, x = (
            torch.randn(shape, generator=generator) for shape in ((6, 9), (r, 9), (6, r), (5, 9))
        )
        found = merge(weight, a, b, alpha)
        if found.shape != weight.shape:
            return f"the weight has shape (6, 9), your merged one {tuple(found.shape)}"
        expected = x @ weight.T + (x @ a.T @ b.T) * alpha / r
        if not torch.allclose(x @ found.T, expected, atol=1e-4):
            return (
                f"with rank {r} and alpha {alpha:g} it computes something else: the scaling is "
                f"{alpha / r:g}"
            )
    return None


def exercise_3(highest_rank: Callable[[list[tuple[int, int]], int], int]) -> str | None:
    """Check the highest rank within a budget."""
    for shapes, budget, expected, why in (
        ([(10, 20)], 95, 3, "each rank takes 10 + 20 parameters"),
        ([(10, 20), (5, 5)], 120, 3, "each rank takes 30 + 10 parameters"),
        ([(10, 20)], 29, 0, "not even one rank fits"),
        ([(10, 20), (4, 100)], 10_000, 4, "a layer of (4, 100) has at most rank 4"),
    ):
        found = highest_rank(shapes, budget)
        if found != expected:
            return (
                f"for {shapes} and {budget:,} parameters it is {expected} ({why}), you say {found}"
            )
    return None
