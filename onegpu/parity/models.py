"""What a model of Transformers answers."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu import progress
from onegpu.generation import evaluating, stop_ids
from onegpu.parity.answers import N_LIKELIEST, Answer, Recording, left_out

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from onegpu.generation import Conversation

    Scales = Sequence[tuple[Any, str, float]]  # of a layer's adapter of that name

__all__ = ["record_model"]

N_WITHOUT = 8  # prompts whose answers are scored with the adapter switched off, too
# By which another token than the likeliest is taken, each with the value that does nothing
SETTINGS: Mapping[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "min_length": 0,
    "min_new_tokens": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": None,
    "watermarking_config": None,
    "num_beams": 1,
}


def record_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompts: Sequence["Conversation"],
    max_new_tokens: int,
) -> Recording:
    """Record what a model answers, taking the likeliest token each time, whatever its settings.

    Args:
        model: With an adapter on it or not.
        tokenizer: Its tokenizer, with a chat template.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The recording, with the settings that were left out.
    """
    answers = _ask_model(model, tokenizer, prompts, max_new_tokens)
    without: tuple[Answer, ...] = ()
    rescaled = {}
    if hasattr(model, "disable_adapter"):
        scored = answers[:N_WITHOUT]
        with model.disable_adapter():
            without = _scores(model, scored)
        for name, scales in _other_scales(model).items():
            with _at_scales(scales):
                rescaled[name] = _scores(model, scored)
    notes = (*left_out(vars(model.generation_config), SETTINGS), *_lost_rope(model.config))
    texts = _texts(tokenizer, answers)
    return Recording(tuple(answers), without, rescaled, texts=texts, notes=notes)


def _other_scales(model: "PeftModel") -> "dict[str, Scales]":
    """Return scales that an adapter of LoRA may be given by mistake, by what to call them."""
    own, plain = [], []
    for module in model.modules():
        for name in getattr(module, "lora_A", ()):
            own.append((module, name, module.scaling[name]))
            plain.append((module, name, model.peft_config[name].lora_alpha / module.r[name]))
    if not own:
        return {}
    found = {}
    if plain != own:
        found["lora_alpha / r everywhere, without use_rslora or alpha_pattern"] = plain
    found["about half of its own"] = [(module, name, scale / 2) for module, name, scale in own]
    found["about twice its own"] = [(module, name, scale * 2) for module, name, scale in own]
    return found


@contextlib.contextmanager
def _at_scales(scales: "Scales") -> Iterator[None]:
    """Give layers other scales until the end of a block."""
    kept = [(module, name, module.scaling[name]) for module, name, _ in scales]
    try:
        for module, name, scale in scales:
            module.scaling[name] = scale
        yield
    finally:
        for module, name, scale in kept:
            module.scaling[name] = scale


def _lost_rope(config: "PreTrainedConfig") -> tuple[str, ...]:
    """Return a note where transformers 4 reads a folder that 5 saved, and not its positions."""
    saved = (getattr(config, "rope_parameters", None) or {}).get("rope_theta")
    read = getattr(config, "rope_theta", saved)
    if saved == read:
        return ()
    return (
        f"its positions are wrong: this transformers reads rope_theta {read:,.0f}, and config.json "
        f"has {saved:,.0f} in rope_parameters, where transformers 5 writes it. Load it there, or "
        'add "rope_theta" to config.json',
    )


def _texts(tokenizer: "PreTrainedTokenizerBase", answers: Sequence[Answer]) -> dict[int, str]:
    """Return the text of each token that answers tell of, as it is within a sentence."""
    found = {token for answer in answers for place in answer.likeliest for token in place}
    before = tokenizer.encode("a", add_special_tokens=False)[-1:]
    n = len(tokenizer.decode(before))
    decode = functools.partial(tokenizer.decode, clean_up_tokenization_spaces=False)
    return {token: decode([*before, token])[n:] for token in found}


def _ask_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence["Conversation"],
    max_new_tokens: int,
    batch_size: int = 20,
) -> list[Answer]:
    import torch

    answers = []
    texts = [
        tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    starts = range(0, len(texts), batch_size)
    for start in progress.bar(starts, what="asking the model", unit="batch"):
        batch = texts[start : start + batch_size]
        encoding = tokenizer(
            batch, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        ).to(model.device)
        with evaluating(model), torch.inference_mode():
            made = model.generate(
                **encoding,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                **SETTINGS,
                return_dict_in_generate=True,
                output_logits=True,
            )
        likeliest = _likeliest(torch.stack(made.logits, dim=1))
        new = made.sequences[:, encoding["input_ids"].shape[1] :].tolist()
        for row, text in enumerate(batch):
            is_prompt = encoding["attention_mask"][row].bool()
            answers.append(
                _answer(
                    tokenizer,
                    prompt_text=text,
                    prompt_ids=encoding["input_ids"][row][is_prompt].tolist(),
                    new_ids=new[row],
                    ends=stop_ids(model),
                    likeliest=likeliest[row],
                )
            )
    return answers


def _answer(
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompt_text: str,
    prompt_ids: list[int],
    new_ids: list[int],
    ends: list[int],
    likeliest: list[dict[int, float]],
) -> Answer:
    """Return one answer of a model, without the padding behind its end."""
    n = 0
    while n < len(new_ids) and new_ids[n] not in ends:
        n += 1
    return Answer(
        prompt_text=prompt_text,
        prompt_ids=tuple(prompt_ids),
        ids=tuple(new_ids[:n]),
        text=tokenizer.decode(new_ids[:n]),
        end=new_ids[n] if n < len(new_ids) else None,
        likeliest=tuple(likeliest[: n + 1]),
    )


def _scores(model: "PreTrainedModel", answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """Return answers with the probabilities that their tokens have to a model now."""
    return tuple(_score(model, answer) for answer in answers)


def _score(model: "PreTrainedModel", answer: Answer) -> Answer:
    import torch

    n_places = len(answer.likeliest)
    ids = (*answer.prompt_ids, *answer.ids)[: len(answer.prompt_ids) + n_places - 1]
    with evaluating(model), torch.inference_mode():
        inputs = torch.tensor([ids], device=model.device)
        logits = model(input_ids=inputs, logits_to_keep=n_places).logits
    return dataclasses.replace(answer, likeliest=tuple(_likeliest(logits)[0]))


def _likeliest(logits: "torch.Tensor") -> list[list[dict[int, float]]]:
    """Return the likeliest log-probabilities by token, from logits (batch, place, vocab)."""
    top = logits.float().log_softmax(-1).topk(min(N_LIKELIEST, logits.shape[-1]))
    return [
        [dict(zip(*place, strict=True)) for place in zip(*row, strict=True)]
        for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
