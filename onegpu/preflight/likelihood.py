"""Whether the model that is trained finds each answer likely after its own question."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED
from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["examine"]

Pair = tuple[list[int], list[int]]  # the tokens of a prompt and of its answer

N_PAIRS = 6  # rows of which each answer is put after each question
N_TOKENS = 128  # of the longest row that is tried
BETTER, CLEARLY = 4.0, 1.0  # nats: than after its own question, and than after any third
HALF = 0.5  # of the answers


def examine(trainer: "Trainer", rows: Sequence[Mapping[str, Any]], tally: Tally) -> None:
    """Look for answers that are much likelier after another row's question.

    A model that knows nothing finds them all about as likely, so nothing is said.

    Args:
        trainer: Of a causal language model. Call it in a block of `steps.without_a_trace`.
        rows: With `input_ids` and `labels`, each one sequence of a prompt and an answer.
        tally: Where findings go.
    """
    import torch

    pairs = [pair for row in rows if (pair := _pair(row))]
    if len(pairs) < N_PAIRS // 2:
        return
    pairs = pairs[:N_PAIRS]
    costs = _costs(trainer, pairs[:2], pairs)
    if float((costs[0] - costs[1]).std()) < CLEARLY:
        return  # to this model all questions are one
    costs = torch.cat([costs, _costs(trainer, pairs[2:], pairs)])
    # what makes every answer likely, or every question, tells nothing
    costs = costs - costs.mean(0, keepdim=True)
    costs = costs - costs.mean(1, keepdim=True)
    best, third = costs.topk(2, dim=0, largest=False).values
    others = costs.argmin(0)
    is_other = (costs.diagonal() - best > BETTER) & (third - best > CLEARLY)
    owners = others[is_other].tolist()
    if len(owners) > HALF * len(costs) and len(set(owners)) == len(owners):
        found = f"{len(owners)} of {len(costs)} answers are likelier after another row's question"
        tally.state("answers-swapped", "to the model, in the first rows", found=found)


def _pair(row: Mapping[str, Any]) -> Pair | None:
    """Return the prompt and the answer of a row, if it is short and has one of each."""
    ids, labels = row["input_ids"], row.get("labels", [])
    n_prompt = next((n for n, label in enumerate(labels) if label != IGNORED), 0)
    is_one = n_prompt and IGNORED not in labels[n_prompt:-1]
    return (ids[:n_prompt], ids[n_prompt:]) if is_one and len(ids) <= N_TOKENS else None


def _costs(trainer: "Trainer", asked: Sequence[Pair], said: Sequence[Pair]) -> "torch.Tensor":
    """Return what answers cost after the prompts of others, in nats, (prompts, answers)."""
    import torch

    costs = torch.zeros(len(asked), len(said))
    for i, (prompt, _) in enumerate(asked):
        rows = [torch.tensor([*prompt, *answer]) for _, answer in said]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(trainer.args.device)
        ends = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < ends[:, None]).long()
        with torch.no_grad(), trainer.compute_loss_context_manager():
            logits = trainer.model(input_ids=ids, attention_mask=mask).logits
        n = len(prompt)
        logits = logits[:, -ids.shape[1] :][:, n - 1 : -1].float()  # prompt tuning puts some before
        nats = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, n:], reduction="none"
        )
        costs[i] = (nats * mask[:, n:]).sum(1).cpu()
    return costs
