"""Whether the rewards of a trainer can tell completions apart: without that, nothing is learned."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import is_conversation
from onegpu.preflight.findings import Tally
from onegpu.preflight.streams import checked_rows

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["examine"]

N_PROMPTS = 4
FORMS = (  # that rewards ask for
    "{}",
    "The answer is {}.",
    "#### {}",
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    "<think>\nLet me see.\n</think>\n<answer>\n{}\n</answer>",
    "<think>Let me see.</think>{}",
    "{0}\n{0}, and that is all that there is to say about it! Or is it? {0}",
)
CONTENTS = ("7", "No.", "Yes, of course: Paris it is.", "")


def examine(trainer: "Trainer", tally: Tally) -> None:
    """Ask the reward functions about made-up completions of the first prompts.

    Args:
        trainer: A `GRPOTrainer`, or another with `reward_funcs`.
        tally: Where findings go.
    """
    args = trainer.args
    if args.temperature == 0 or getattr(args, "top_k", None) == 1:
        setting = "temperature=0" if args.temperature == 0 else "top_k=1"
        tally.state("rewards-equal", f"{setting}: all completions of a prompt are the same")
        return
    functions = [f for f in trainer.reward_funcs if not _is_slow(f)]
    weights = [float(w) for w in trainer.reward_weights]
    if not any(weights):
        tally.state("rewards-equal", "reward_weights are all 0")
    elif len(functions) == len(trainer.reward_funcs):  # no model among them
        rows = list(itertools.islice(checked_rows(trainer.train_dataset), N_PROMPTS))
        found = [
            _rewards(trainer, f, row)
            for f, w in zip(functions, weights, strict=True)
            if w
            for row in rows
        ]
        if found and all(len(set(rewards)) <= 1 for rewards in found):
            where = (
                f"{len(FORMS) * len(CONTENTS)} made-up completions of each of {len(rows)} prompts"
            )
            tally.state("rewards-equal", where)


def _rewards(trainer: "Trainer", function: Callable[..., Any], row: Mapping[str, Any]) -> list[Any]:
    """Return the rewards of completions that were made up for a row."""
    texts = list(_completions(row))
    are_turns = is_conversation(row["prompt"])
    completions = [[{"role": "assistant", "content": t}] if are_turns else t for t in texts]
    columns = {name: [value] * len(texts) for name, value in row.items() if name != "prompt"}
    return list(
        function(
            prompts=[row["prompt"]] * len(texts),
            completions=completions,
            completion_ids=[list(text.encode()) for text in texts],
            trainer_state=trainer.state,
            log_extra=_log,
            log_metric=_log,
            **columns,
        )
    )


def _log(*args: Any) -> None:
    """Take what a reward function logs."""


def _is_slow(function: Any) -> bool:
    """Return whether a reward is a model, or is waited for."""
    return hasattr(function, "parameters") or inspect.iscoroutinefunction(function)


def _completions(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield completions: what other columns hold, and other texts, in the forms that are usual."""
    columns = [str(value) for name, value in row.items() if name != "prompt"]
    contents: Sequence[str] = [text for text in columns if len(text) < 1000]
    for content, form in itertools.product((*contents, *CONTENTS), FORMS):
        yield form.format(content)
