"""A small model in a folder: the one that was given, or one with random weights and a tokenizer."""

from pathlib import Path
from typing import Any

from gpu_parts import Job
from helpers import texts

__all__ = ["given_folder", "random_folder", "tiny_config"]

SPECIAL_TOKENS = ["<|im_start|>", "<|im_end|>"]
N_TOKENS = 512
TEMPLATE = """\
{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def given_folder(job: Job) -> Path:
    """Return the folder of the real model, or of a tiny one in a rehearsal.

    Args:
        job: See `Job`.

    Returns:
        A folder that `from_pretrained` reads, with a tokenizer and its chat template.

    Raises:
        ValueError: There is no real model, and this is no rehearsal.
    """
    if job.rehearse:
        return random_folder(job, tiny_config())
    if job.model is None:
        raise ValueError(
            "this part needs real weights: give --model, a folder of SmolLM2-135M-Instruct as "
            "save_pretrained writes it"
        )
    return job.model


def random_folder(job: Job, config: Any) -> Path:
    """Return a folder with random weights and a small tokenizer, written at the first call.

    Args:
        job: It is written into its `scratch`.
        config: A configuration of transformers.

    Returns:
        See `given_folder`. The weights are bfloat16.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = job.scratch / f"random-{config.hidden_size}"
    if not folder.exists():
        tokenizer = _tokenizer()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        for settings in (model.config, model.generation_config):
            settings.bos_token_id = tokenizer.bos_token_id
            settings.eos_token_id = settings.pad_token_id = tokenizer.eos_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_config() -> Any:
    """Return the configuration of a model with two layers, for rehearsals."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=N_TOKENS,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )


def _tokenizer() -> Any:
    """Return a tokenizer that was trained on a short story."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([texts.story()], trainer)
    start, end = SPECIAL_TOKENS
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=start, eos_token=end, pad_token=end
    )
    fast.chat_template = TEMPLATE
    return fast
