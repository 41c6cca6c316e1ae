"""What is wrong with a trainer's tokenizer, model, adapter and settings."""

import contextlib
import math
import re
from typing import TYPE_CHECKING, Any

from onegpu.chat import template
from onegpu.generation import stop_ids
from onegpu.machine import memory_bytes
from onegpu.preflight.findings import KINDS, Tally
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.streams import evaluation_sets, lengths

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

    Weights = list[tuple[str, torch.nn.Parameter]]

__all__ = ["examine", "trainable_weights"]

HEADS = ("score", "classifier")  # of sequence classifiers, which rewards are made of
LOWER = {"loss", "perplexity", "ppl", "nll", "wer", "cer", "error", "mae", "mse", "rmse"}
HIGHER = {"accuracy", "accuracies", "acc", "f", "bleu", "rouge", "rougel", "exact", "margins"}


def examine(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    """Check everything about a trainer but its rows, and add what is wrong to a tally.

    Args:
        trainer: See `preflight.check`.
        sequences: What its rows were found to hold.
        tally: Where findings go.
    """
    for check in (_tokenizer, _adapter, _number_types, _best, _saving):
        check(trainer, tally)
    _settings(trainer, sequences, tally)
    _new_tokens(trainer, sequences, tally)
    _evaluation(trainer, tally)


def trainable_weights(model: Any) -> "Weights":
    """Return the weights of a model that are trained, by name.

    Args:
        model: With or without an adapter.

    Returns:
        Names and parameters, in the model's order.
    """
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _is_adapted(trainer: "Trainer") -> bool:
    return bool(getattr(trainer.model, "peft_config", None))


def _tokenizer(trainer: "Trainer", tally: Tally) -> None:
    """Compare what ends an answer with what the model stops at."""
    tokenizer = trainer.processing_class
    parts = template(tokenizer)
    if not parts or parts.end_of_turn_id is None:
        return
    if getattr(trainer.model, "generation_config", None) is None:  # a reward model writes nothing
        return
    stops = stop_ids(trainer.model) or [tokenizer.eos_token_id]
    if parts.end_of_turn_id not in stops:
        end, stop = tokenizer.decode([parts.end_of_turn_id]), tokenizer.decode(stops[:1])
        tally.state("eos-differs", f"the template writes {end}, the model stops at {stop}")


def _adapter(trainer: "Trainer", tally: Tally) -> None:
    """Check for an adapter that cannot learn, or that is not where it was asked to be."""
    if not trainable_weights(trainer.model):
        tally.state("adapter-frozen", f"0 of {len(list(trainer.model.parameters()))} weights")
    _head(trainer.model, tally)
    if not _is_adapted(trainer):
        return
    places = [n.split(".lora_A")[0] for n, _ in trainer.model.named_modules() if ".lora_A" in n]
    for config in trainer.model.peft_config.values():
        targets = getattr(config, "target_modules", None) or ()
        if isinstance(targets, str):
            continue
        missed = sorted(t for t in targets if not any(f".{p}".endswith(f".{t}") for p in places))
        if missed and places:
            tally.state("targets-missed", ", ".join(missed))


def _head(model: Any, tally: Tally) -> None:
    """Check for a head that no checkpoint had, and that is not trained."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = getattr(base, "config", None)
    if type(base).__name__ in (getattr(config, "architectures", None) or ()):
        return  # as it was saved
    for name in HEADS:
        head = getattr(base, name, None)
        weights = list(head.parameters()) if hasattr(head, "parameters") else []
        if weights and not any(weight.requires_grad for weight in weights):
            where = f"{name!r}: LoraConfig(task_type='SEQ_CLS') trains it"
            tally.state("layers-frozen", where, found="the new head is frozen and stays random")


def _number_types(trainer: "Trainer", tally: Tally) -> None:
    import torch

    weights = trainable_weights(trainer.model)
    half = [name for name, p in weights if p.dtype == torch.float16]
    if trainer.args.fp16:
        half += [name for name, p in weights if p.dtype == torch.bfloat16]
    if half:
        tally.state("trainable-half", f"{len(half)} of {len(weights)} weights, such as {half[0]}")


def _settings(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    import torch

    args = trainer.args
    is_wrapped = getattr(args, "packing", False) and args.packing_strategy == "wrapped"
    if is_wrapped and sequences.are_in_turns:  # documents may see each other, as in pretraining
        tally.state("packing-leaks", "packing_strategy='wrapped'")
    # The capability, not is_bf16_supported(): that one says yes where bfloat16 is only emulated.
    if args.bf16 and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        if major < 8:
            tally.state("bf16-missing", f"compute capability {major}.{minor}")


def _best(trainer: "Trainer", tally: Tally) -> None:
    """Check for a metric that is compared the wrong way round."""
    args = trainer.args
    names = {type(callback).__name__ for callback in trainer.callback_handler.callbacks}
    is_kept = args.load_best_model_at_end or args.save_strategy == "best"
    if not args.metric_for_best_model or not (is_kept or "EarlyStoppingCallback" in names):
        return
    words = set(re.findall("[a-z]+", args.metric_for_best_model.lower()))
    is_lower, is_higher = not words.isdisjoint(LOWER), not words.isdisjoint(HIGHER)
    if is_lower != is_higher and is_lower == args.greater_is_better:
        where = f"metric_for_best_model={args.metric_for_best_model!r}"
        tally.state("worst-kept", f"{where}, greater_is_better={args.greater_is_better}")


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
    """Check for tokens that the pretrained model never saw, and that are not trained."""
    if not _is_adapted(trainer):
        return
    weight = trainer.model.get_input_embeddings().weight
    n_base = trainer.processing_class.vocab_size  # without the tokens that were added to it
    ids = sorted(i for i in sequences.special_ids if n_base <= i < weight.shape[0])
    if weight.requires_grad or not ids:
        return
    trained: set[int] = set()
    for name, module in trainer.model.named_modules():
        if name.endswith("token_adapter"):
            trained.update(*module.token_indices.values())
    n_pretrained = _n_pretrained(trainer.model)
    new = [i for i in ids if i >= n_pretrained or _is_mean(weight, i)]
    untrained = [i for i in new if i not in trained]
    if untrained:
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
        if "input_ids" not in next(iter(rows), {}):  # answers in pairs
            continue
        found = lengths(rows)
        positions = max(positions, min(len(found), kept) * max(found, default=0))
    needed = 4 * positions * trainer.model.config.get_text_config().vocab_size
    there = memory_bytes(args.device)
    if needed > 0.5 * there:
        tally.state("eval-memory", f"{needed / 1e9:.0f} GB of {there / 1e9:.0f} GB")
