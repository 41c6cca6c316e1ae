"""What is wrong with a trainer's model, adapter and settings, and with its first batch."""

import contextlib
import math
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED, collate, first_rows, template
from onegpu.losses import learned_tokens_loss
from onegpu.machine import memory_bytes
from onegpu.preflight.findings import KINDS, Tally
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.streams import evaluation_sets, lengths

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["examine"]

Weights = "list[tuple[str, torch.nn.Parameter]]"

LORA_RATES, FULL_RATES = (5e-5, 5e-3), (1e-7, 5e-4)  # outside of them, a learning rate is unusual


def examine(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    """Look at everything about a trainer but its rows, and add what is wrong to a tally."""
    for check in (_tokenizer, _adapter, _number_types, _rate, _settings, _saving):
        check(trainer, tally)
    _new_tokens(trainer, sequences, tally)
    _evaluation(trainer, tally)
    rows = first_rows(trainer)
    if not rows:
        return
    batch = collate(trainer, rows)
    _collator(trainer, rows, batch, tally)
    if sequences.max_id < _n_embeddings(trainer.model):
        _first_step(trainer, batch, tally)
    else:  # a forward pass would fail, and leave a GPU unusable
        tally.state(
            "embeddings-too-few",
            f"token {sequences.max_id:,}, {_n_embeddings(trainer.model):,} embeddings",
        )


def _n_embeddings(model: Any) -> int:
    return model.get_input_embeddings().weight.shape[0]


def _trainable(model: Any) -> Weights:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _is_adapted(trainer: "Trainer") -> bool:
    return bool(getattr(trainer.model, "peft_config", None))


def _tokenizer(trainer: "Trainer", tally: Tally) -> None:
    """Compare what ends an answer with what the model stops at."""
    tokenizer = trainer.processing_class
    parts = template(tokenizer)
    if not parts or parts.end_of_turn_id is None:
        return
    stops = trainer.model.generation_config.eos_token_id
    if stops is None:
        stops = tokenizer.eos_token_id
    if parts.end_of_turn_id not in (stops if isinstance(stops, list) else [stops]):
        end = tokenizer.decode([parts.end_of_turn_id])
        stop = tokenizer.decode([stops[0] if isinstance(stops, list) else stops])
        tally.state("eos-differs", f"the template writes {end}, the model stops at {stop}")


def _adapter(trainer: "Trainer", tally: Tally) -> None:
    """Look for an adapter that cannot learn, or that is not where it was asked to be."""
    if not _trainable(trainer.model):
        tally.state("adapter-frozen", f"0 of {len(list(trainer.model.parameters()))} weights")
    if not _is_adapted(trainer):
        return
    places = [n.split(".lora_A")[0] for n, _ in trainer.model.named_modules() if ".lora_A" in n]
    for config in trainer.model.peft_config.values():
        targets = getattr(config, "target_modules", None) or ()
        if isinstance(targets, str):
            continue
        missed = sorted(t for t in targets if not any(p.endswith(f".{t}") for p in places))
        if missed and places:
            tally.state("targets-missed", ", ".join(missed))


def _number_types(trainer: "Trainer", tally: Tally) -> None:
    import torch

    weights = _trainable(trainer.model)
    half = [name for name, p in weights if p.dtype == torch.float16]
    if trainer.args.fp16:
        half += [name for name, p in weights if p.dtype == torch.bfloat16]
    if half:
        tally.state("trainable-half", f"{len(half)} of {len(weights)} weights, such as {half[0]}")
    coarse, rate = 0, trainer.args.learning_rate
    for _, p in weights:
        if p.dtype == torch.bfloat16 and p.any():
            # AdamW moves a weight by about the learning rate; bfloat16 has 8 bits of precision
            coarse += bool((p.detach().abs().float().median() * 2**-9) > rate)
    if coarse > len(weights) / 2:
        tally.state("updates-rounded", f"{coarse} of {len(weights)} weights at {rate:g}")


def _rate(trainer: "Trainer", tally: Tally) -> None:
    low, high = LORA_RATES if _is_adapted(trainer) else FULL_RATES
    rate = trainer.args.learning_rate
    if not low <= rate <= high:
        what = "LoRA" if _is_adapted(trainer) else "full fine-tuning"
        size = "small" if rate < low else "large"
        tally.state("learning-rate", f"learning_rate={rate:g}", found=f"{size} for {what}")


def _settings(trainer: "Trainer", tally: Tally) -> None:
    import torch

    args = trainer.args
    if getattr(args, "packing", False) and args.packing_strategy == "wrapped":
        tally.state("packing-leaks", "packing_strategy='wrapped'")
    # The capability, not is_bf16_supported(): that one says yes where bfloat16 is only emulated.
    if args.bf16 and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        if major < 8:
            tally.state("bf16-missing", f"compute capability {major}.{minor}")


def _saving(trainer: "Trainer", tally: Tally) -> None:
    """Ask for what saving will ask for."""
    config = getattr(trainer.model, "generation_config", None)
    if config is None:
        return
    try:
        config.validate(strict=True)
    except ValueError as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
        what = KINDS["generation-config"].what
        if _is_adapted(trainer):  # an adapter is saved without it
            what = what.replace("the model", "the merged model")
        tally.state("generation-config", " ".join(lines[1:2] or lines)[:120], found=what)


def _new_tokens(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    """Look for tokens that the pretrained model never saw, and that are not trained."""
    if not _is_adapted(trainer):
        return
    weight = trainer.model.get_input_embeddings().weight
    n_base = trainer.processing_class.vocab_size  # without the tokens that were added to it
    ids = sorted(i for i in sequences.special_ids if n_base <= i < weight.shape[0])
    trained = {
        i
        for name, module in trainer.model.named_modules()
        if name.endswith("token_adapter")
        for indices in module.token_indices.values()
        for i in indices
    }
    if weight.requires_grad or not ids:
        return
    n_pretrained = _n_pretrained(trainer.model)
    new = [i for i in ids if i >= n_pretrained or _is_mean(weight, i)]
    if untrained := [i for i in new if i not in trained]:
        names = [trainer.processing_class.decode([i]) for i in untrained]
        tally.state("new-tokens-untrained", ", ".join(names[:5]))


def _n_pretrained(model: Any) -> float:
    """Return how many embeddings the model had when it was loaded, if that can be known."""
    from transformers import AutoConfig

    name = getattr(model.config, "_name_or_path", "")
    with contextlib.suppress(OSError, ValueError):
        return AutoConfig.from_pretrained(name, local_files_only=True).get_text_config().vocab_size
    return math.inf


def _is_mean(weight: "torch.Tensor", token_id: int) -> bool:
    """Return whether an embedding is about the mean of all, as transformers makes new ones."""
    mean = weight.detach().float().mean(dim=0)
    typical = (weight[:1000].detach().float() - mean).norm(dim=1).median()
    return bool((weight[token_id].detach().float() - mean).norm() < 0.1 * typical)


def _evaluation(trainer: "Trainer", tally: Tally) -> None:
    """Add up the logits that an evaluation with metrics keeps."""
    args = trainer.args
    if trainer.compute_metrics is None:
        return
    kept = args.per_device_eval_batch_size * (args.eval_accumulation_steps or math.inf)
    if trainer.preprocess_logits_for_metrics is not None:
        kept = args.per_device_eval_batch_size
    positions = 0  # of the set that keeps most: each is evaluated by itself
    for rows in evaluation_sets(trainer).values():
        found = lengths(rows)
        positions = max(positions, min(len(found), kept) * max(found, default=0))
    needed = 4 * positions * trainer.model.config.get_text_config().vocab_size
    if needed > 0.5 * (there := memory_bytes(args.device)):
        tally.state("eval-memory", f"{needed / 1e9:.0f} GB of {there / 1e9:.0f} GB")


def _collator(
    trainer: "Trainer", rows: list[Mapping[str, Any]], batch: dict[str, Any], tally: Tally
) -> None:
    """Compare the batch with the rows that went into it."""
    mask = batch.get("attention_mask")
    if mask is None or "labels" not in batch:
        return
    if not bool(mask[:, 0].all()):
        tally.state("padding-side", f"{int((mask[:, 0] == 0).sum())} rows of the first batch")
    parts = template(trainer.processing_class)
    ends = {trainer.processing_class.eos_token_id, parts.end_of_turn_id if parts else None} - {None}
    if len(mask) != len(rows):  # a collator that puts several rows into one
        return
    for number, (row, keep) in enumerate(zip(rows, mask.bool(), strict=True)):
        wanted = list(row.get("labels", row["input_ids"]))
        got = batch["labels"][number][keep].tolist()
        pairs = list(zip(wanted, got, strict=True)) if len(wanted) == len(got) else []
        if any(want in ends and label == IGNORED for want, label in pairs):
            tally.state("pad-is-eos", f"train_dataset[{number}] in the first batch")
        if any(want == IGNORED and label != IGNORED for want, label in pairs):
            tally.add("prompt-learned", f"train_dataset[{number}]", "its labels are overwritten")


def _first_step(trainer: "Trainer", batch: dict[str, Any], tally: Tally) -> None:
    """Compute the loss and the gradients of the first batch, and put everything back."""
    weights = _trainable(trainer.model)
    if not weights or not bool((batch["labels"] != IGNORED).any()):
        return
    with _put_back(trainer, weights):
        loss = _loss(trainer, batch)
        if loss.requires_grad:
            loss.backward()
        # Behind a matrix B that is zero, as it is at first, no gradient reaches A
        expected = [(n, p) for n, p in weights if ".lora_A." not in n]
        idle = [n for n, p in expected if p.grad is None or not bool(p.grad.any())]
    worst = math.log(trainer.model.config.get_text_config().vocab_size)
    if not math.isfinite(loss.item()) or loss.item() > worst + 0.5:
        tally.state("loss-too-high", f"{loss.item():.1f} nats a token; guessing costs {worst:.1f}")
    if len(idle) > len(expected) / 2:
        tally.state("no-gradient", f"{len(idle)} of {len(expected)}, such as {idle[0]}")


def _loss(trainer: "Trainer", batch: dict[str, Any]) -> "torch.Tensor":
    import torch

    on_device = {
        k: v.to(trainer.args.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()
    }
    with trainer.compute_loss_context_manager():
        return learned_tokens_loss(trainer, trainer.model, on_device)


@contextlib.contextmanager
def _put_back(trainer: "Trainer", weights: Weights) -> Iterator[None]:
    """Give back gradients, random states and training mode as they were."""
    import numpy as np
    import torch

    gradients, states = [p.grad for _, p in weights], (random.getstate(), np.random.get_state())
    modes = {module: module.training for module in trainer.model.modules()}
    trainer.model.train()
    for _, p in weights:
        p.grad = None
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            yield
    finally:
        for (_, p), gradient in zip(weights, gradients, strict=True):
            p.grad = gradient
        for module, mode in modes.items():
            module.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])
