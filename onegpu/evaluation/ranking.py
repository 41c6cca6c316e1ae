"""Which version is best, from matches of two: Bradley and Terry's strengths, and Elo's points.

Taught in: notebooks/07_evaluation.ipynb
"""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Match", "Strength", "bradley_terry", "elo"]

MEAN = 1000.0  # points of an average player
SCALE = 400 / math.log(10)  # so that 400 points are odds of 10 to 1
N_STEPS = 200  # of Newton's method, which takes about ten


@dataclasses.dataclass(frozen=True)
class Match:
    """Two versions of a model that answered the same prompt, and which answer was preferred.

    Attributes:
        first: Name of the version whose answer was shown first.
        second: That of the other.
        winner: One of the two names; None for a tie.

    Raises:
        ValueError: A version plays against itself, or the winner didn't play.

    Taught in: notebooks/07_evaluation.ipynb
    """

    first: str
    second: str
    winner: str | None

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"{self.first!r} plays against itself: give two different names")
        if self.winner not in (self.first, self.second, None):
            raise ValueError(
                f"the winner is {self.winner!r}: give {self.first!r}, {self.second!r}, or None "
                "for a tie"
            )


@dataclasses.dataclass(frozen=True)
class Strength:
    """How strong one player is.

    Attributes:
        name: Of the player.
        points: 1,000 is the average of all players. Who is 400 points ahead wins ten times as often
            as they lose.
        interval: 95 % interval of the points.
        n_matches: How many matches they played.
    """

    name: str
    points: float
    interval: tuple[float, float]
    n_matches: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.name}: {self.points:.0f} ({low:.0f} to {high:.0f}, {self.n_matches} matches)"


def bradley_terry(
    matches: Sequence[Match], *, n_resamples: int = 1000, prior_ties: float = 1.0
) -> list[Strength]:
    """Return how strong each player is, from who beat whom, whatever the order of the matches.

    The strengths are those under which the results are likeliest, where a player who is `d` points
    ahead wins with the probability 1 / (1 + 10^(-d/400)). A tie is half a win for each. With two
    players that is 400 · log10(wins / losses). Who never lost would be infinitely strong, so each
    player is given `prior_ties` ties more, in equal parts against all the others. With two players
    that makes it 400 · log10((wins + 1/2) / (losses + 1/2)).

    The interval comes from drawing the matches again, with replacement (a bootstrap). It can't be
    trusted with fewer than some dozens of matches, or for a player who won or lost all of them.

    Args:
        matches: At least one.
        n_resamples: How often the matches are drawn again, at least 2.
        prior_ties: Ties that each player is given, above 0.

    Returns:
        The players, the strongest first. The result is the same each time.

    Raises:
        ValueError: There are no matches, too few resamples, or no ties are given.

    Example:
        >>> matches = [Match("new", "old", "new")] * 3 + [Match("new", "old", "old")]
        >>> new, old = bradley_terry(matches)
        >>> new.name, round(new.points - old.points)
        ('new', 147)

    Taught in: notebooks/07_evaluation.ipynb
    Source: Bradley and Terry 1952, https://doi.org/10.2307/2334029; Hunter 2004, MM algorithms for
        generalized Bradley-Terry models, https://doi.org/10.1214/aos/1079120141
    """
    import numpy as np

    if not matches or n_resamples < 2 or not 0 < prior_ties < math.inf:
        raise ValueError(
            f"{len(matches)} matches, {n_resamples} resamples and {prior_ties} prior ties: give "
            "at least one match, at least 2 resamples, and a number of ties above 0"
        )
    names = sorted({name for match in matches for name in (match.first, match.second)})
    counted = collections.Counter(matches)
    counts = np.array(list(counted.values()))
    drawn = np.random.default_rng(0).multinomial(
        len(matches), counts / len(matches), size=n_resamples
    )
    wins = _wins(list(counted), np.concatenate([counts[None], drawn]), names)
    prior = prior_ties / 2 / (len(names) - 1) * (1 - np.eye(len(names)))
    points = MEAN + SCALE * _likeliest(wins + prior)  # (1 + resamples, players)
    low, high = np.quantile(points[1:], [0.025, 0.975], axis=0)
    played = (wins[0] + wins[0].T).sum(axis=1)
    found = [
        Strength(name, float(points[0, i]), (float(low[i]), float(high[i])), round(played[i]))
        for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda player: -player.points)


def _wins(matches: list[Match], counts: "np.ndarray", names: list[str]) -> "np.ndarray":
    """Return how often each player beat each other one, shape (draws, players, players).

    `counts` says how often each of the matches is in each draw, shape (draws, matches).
    """
    import numpy as np

    place = {name: i for i, name in enumerate(names)}
    wins = np.zeros((len(counts), len(names), len(names)))
    for match, n in zip(matches, counts.T, strict=True):
        i, j = place[match.first], place[match.second]
        for_first = 0.5 if match.winner is None else float(match.winner == match.first)
        wins[:, i, j] += for_first * n
        wins[:, j, i] += (1 - for_first) * n
    return wins


def _likeliest(wins: "np.ndarray") -> "np.ndarray":
    """Return the likeliest strengths, of mean 0, shape (draws, players), by Newton's method."""
    import numpy as np

    n_players = wins.shape[-1]
    games = wins + wins.swapaxes(1, 2)
    strengths = np.zeros(wins.shape[:2])
    for _ in range(N_STEPS):
        ahead = strengths[:, :, None] - strengths[:, None, :]
        chances = 1 / (1 + np.exp(-ahead))  # that the one of the row beats the one of the column
        slopes = (wins - games * chances).sum(axis=2)
        bends = games * chances * (1 - chances)
        curves = np.eye(n_players) * bends.sum(axis=2)[:, :, None] - bends
        # Adding the same to all changes no chance: the ones keep the sum at 0
        steps = np.linalg.solve(curves + 1 / n_players, slopes[:, :, None])[:, :, 0]
        # A step in which no two players part by more than 1 can't overshoot and diverge
        widest = np.ptp(steps, axis=1, keepdims=True)
        strengths += steps / np.maximum(1, widest)
        if widest.max() < 1e-10:
            break
    return strengths


def elo(matches: Sequence[Match], *, k: float = 32, start: float = 1000) -> dict[str, float]:
    """Return each player's points after the matches, in the order in which they were played.

    After each match the winner takes points from the loser: `k` times what was surprising about it.
    So the last matches count most, and the same matches in another order give other points. That
    suits players who get better from game to game. A version of a model doesn't: take
    `bradley_terry`.

    Args:
        matches: The first match first.
        k: The most points that one match can move.
        start: Points of a player before the first match.

    Returns:
        Points by name, in the order in which the players appear.

    Example:
        >>> elo([Match("a", "b", "a")])
        {'a': 1016.0, 'b': 984.0}

    Taught in: notebooks/07_evaluation.ipynb
    Source: Elo 1978, The rating of chessplayers, past and present
    """
    points: dict[str, float] = {}
    for match in matches:
        first = points.setdefault(match.first, float(start))
        second = points.setdefault(match.second, float(start))
        expected = 1 / (1 + 10 ** ((second - first) / 400))
        for_first = 0.5 if match.winner is None else float(match.winner == match.first)
        moved = k * (for_first - expected)
        points[match.first] += moved
        points[match.second] -= moved
    return points
