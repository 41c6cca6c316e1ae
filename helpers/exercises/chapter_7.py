"""Checks of the exercises in notebooks/07_evaluation.ipynb."""

from collections.abc import Callable, Sequence

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

SHARE, WIDTH = 0.9, 0.06  # of right answers, and of the interval around it
LONGEST = 40  # words of a summary

Judge = Callable[[str, str, str], float]


def exercise_1(n_prompts: int) -> str | None:
    """Check how many prompts make an interval narrow."""
    from onegpu import evaluation

    def width(n: int) -> float:
        low, high = evaluation.interval(round(SHARE * n), n)
        return high - low

    if not isinstance(n_prompts, int) or n_prompts < 10:
        return f"hand in a whole number of prompts: you say {n_prompts!r}"
    if width(n_prompts) > WIDTH:
        return f"with {n_prompts:,} the interval is {100 * width(n_prompts):.1f} points wide"
    if width(round(0.95 * n_prompts)) <= WIDTH:
        return f"{n_prompts:,} is enough, and so are {round(0.95 * n_prompts):,}"
    return None


def exercise_2(split: Callable[[list[dict[str, str]], float], tuple[list, list]]) -> str | None:
    """Check a split that keeps documents whole."""
    rows = [
        {"document": f"d{d}", "question": f"{d}.{q}"} for q in range(6) for d in range(40) if q <= d
    ]
    for share in (0.1, 0.25, 0.5):
        train, test = split([dict(row) for row in rows], share)
        both = [row["question"] for row in (*train, *test)]
        if sorted(both) != sorted(row["question"] for row in rows):
            return f"{len(both)} rows come back, of {len(rows)}: none may be lost or doubled"
        shared = {row["document"] for row in train} & {row["document"] for row in test}
        if shared:
            return f"{len(shared)} documents are on both sides, {min(shared)} for one"
        if not 0.5 * share <= len(test) / len(rows) <= 1.5 * share:
            return f"asked for {share:.0%} in the test, it has {len(test) / len(rows):.0%}"
    _, sorted_test = split([dict(row) for row in rows], 0.25)
    places = sorted(int(row["document"][1:]) for row in sorted_test)
    if places[0] >= 20 or places[-1] < 20:
        return "the test has only documents from one end of the file: draw them at random"
    return None


def exercise_3(summarize: Callable[[str], str]) -> str | None:
    """Check a summary that understands nothing and beats the first sentence."""
    from helpers import texts
    from onegpu import evaluation

    def mean(summary: Callable[[str], str]) -> float:
        scores = [
            evaluation.rouge_l(summary(r["text"]), r["references"]) for r in texts.summaries()
        ]
        return sum(scores) / len(scores)

    longest = max(len(summarize(row["text"]).split()) for row in texts.summaries())
    if longest > LONGEST:
        return f"a summary of {longest} words: at most {LONGEST}"
    first, yours = mean(lambda text: text.split(". ")[0] + "."), mean(summarize)
    if yours <= first:
        return f"ROUGE-L {yours:.3f}, and the first sentence alone has {first:.3f}"
    return None


def exercise_4(fair: Callable[[Judge], Judge]) -> str | None:
    """Check a judge that is made not to care about places."""

    def biased(towards: float) -> Judge:
        def judge(prompt: str, first: str, second: str) -> float:
            quality = 0.5 + 0.3 * (len(first) > len(second)) - 0.3 * (len(first) < len(second))
            return min(1.0, max(0.0, quality + towards))

        return judge

    answers: Sequence[str] = ("No.", "Yes.", "It depends.")
    for towards in (0.2, -0.15, 0.0):
        judge = fair(biased(towards))
        for a in answers:
            for b in answers:
                there, back = judge("Well?", a, b), judge("Well?", b, a)
                if abs(there + back - 1) > 1e-9:
                    return f"{a!r} against {b!r}: {there:.2f}, and {1 - back:.2f} the other way"
                if len(a) > len(b) and there <= 0.5:
                    return f"the judge likes {a!r} better than {b!r}, and yours doesn't"
    return None
