"""Checks of the exercises in notebooks/06_deployment.ipynb."""

import re
from collections.abc import Mapping

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

KINDS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m")  # the largest first
GPU_GIB, CONTEXT = 8, 20_480
LONGEST_PROBE = 60  # characters
# How `llama-bpe` splits text: the expression that llama.cpp has for Llama 3.
LLAMA_BPE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"


def exercise_1(largest: str) -> str | None:
    """Check the largest kind of weights that fits beside the cache."""
    from onegpu import memory

    kind = str(largest).lower()
    if kind not in KINDS:
        return f"{largest!r} is none of {', '.join(KINDS)}"
    fitting = [
        name
        for name in KINDS[: KINDS.index(kind) + 1]
        if memory.plan_serving("Llama-3.1-8B", gpu=GPU_GIB, context=CONTEXT, weights=name).fits
    ]
    if not fitting:
        return f"{kind} does not fit: weights, cache and buffers together are over {GPU_GIB} GiB"
    if fitting[0] != kind:
        return f"{kind} fits, and something larger does, too"
    return None


def exercise_2(measured: Mapping[float, tuple[int, float]]) -> str | None:
    """Check what noise in the weights did to answers and divergence."""
    from onegpu.parity import SAME_KL

    if not isinstance(measured, Mapping) or len(measured) < 3:
        return (
            "give a dictionary of at least three amounts of noise, each with what shaken returned"
        )
    noises = sorted(measured)
    if noises[0] <= 0:
        return "noise of 0 or less shakes nothing"
    distances = [measured[noise][1] for noise in noises]
    if distances != sorted(distances):
        return (
            "more noise should take the model further away: is each pair (same answers, mean KL)?"
        )
    if not any(n_same >= 38 and distance > SAME_KL for n_same, distance in measured.values()):
        return (
            f"with none of these are 38 answers the same and the KL over {SAME_KL:g}: look between "
            "the largest that keeps the answers and the smallest that does not"
        )
    if min(n_same for n_same, _ in measured.values()) >= 20:
        return "most answers are still the same at your largest noise: try more"
    return None


def exercise_3(probe: str) -> str | None:
    """Check an ordinary message that two pre-tokenizers split differently."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    from helpers import models
    from helpers.environment import PROFILES

    if not isinstance(probe, str):
        return f"a text is wanted, not {type(probe).__name__}"
    if len(probe) > LONGEST_PROBE:
        return f"it has {len(probe)} characters, and {LONGEST_PROBE} are allowed"
    if "  " in probe or "\t" in probe or not re.search(r"\w", probe):
        return "nobody types that: words, please, and no double spaces or tabs"
    ours = models.load_tokenizer(PROFILES["cpu"]).backend_tokenizer
    other = Tokenizer.from_str(ours.to_str())
    other.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_BPE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokens = ours.encode(probe).tokens
    if tokens == other.encode(probe).tokens:
        return f"both cut it into {tokens}"
    return None


def exercise_4(fixed: str) -> str | None:
    """Check a Modelfile by what its template writes and by its settings."""
    if not isinstance(fixed, str):
        return f"a text is wanted, not {type(fixed).__name__}"
    template = re.search(r'^TEMPLATE """(.*?)"""', fixed, re.DOTALL | re.MULTILINE)
    if not template:
        return 'there is no TEMPLATE between three quotes, """'
    if r"\n" in template[1]:
        return r"a Modelfile knows no escapes: \n is a backslash and an n. Break the line instead"
    written = _rendered(template[1])
    if written != CHATML:
        return f"for a system message S and a question U the template writes {written!r}"
    system = re.search(r'^SYSTEM (?:"""(.*?)"""|"?(.*?)"?)$', fixed, re.DOTALL | re.MULTILINE)
    if not system or (system[1] or system[2]).strip() != "Translate to Yoda-speak.":
        return "which system message was in the training rows? A SYSTEM line says it"
    stops = re.findall(r'^PARAMETER stop "?([^"\n]+?)"?\s*$', fixed, re.MULTILINE)
    if stops != ["<|im_end|>"]:
        return f"it stops at {stops or 'nothing'}, and this model ends its turns with <|im_end|>"
    if not re.search(r"^PARAMETER temperature 0(?:\.0*)?\s*$", fixed, re.MULTILINE):
        return "without a temperature of 0 Ollama takes 0.8"
    return None


def _rendered(template: str) -> str:
    """Return what a template of Ollama writes for a system message S and a question U."""
    text = re.sub(r"\s*\{\{-", "{{", template)
    text = re.sub(r"-\}\}\s*", "}}", text)
    loop = re.compile(r"\{\{\s*range \.Messages\s*\}\}(.*?)\{\{\s*end\s*\}\}", re.DOTALL)

    def repeated(match: re.Match[str]) -> str:
        written = ""
        for role, content in (("system", "S"), ("user", "U")):
            one = re.sub(r"\{\{\s*\.Role\s*\}\}", role, match[1])
            written += re.sub(r"\{\{\s*\.Content\s*\}\}", content, one)
        return written

    return loop.sub(repeated, text)
