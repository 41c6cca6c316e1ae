"""What a check reports: findings, and the kinds that there are.

Taught in: notebooks/99_troubleshooting.ipynb
"""

import collections
import dataclasses
import html
from collections.abc import Iterable

__all__ = ["KINDS", "Finding", "Findings", "Kind", "Tally"]

# The course on the web, since an installed package holds no notebooks. `make links` sets it.
COURSE = "https://your_name.github.io/fine-tuning-on-one-gpu"
SECTIONS = f"{COURSE}/notebooks/99_troubleshooting.html"
N_PLACES = 3  # how many places a finding names


@dataclasses.dataclass(frozen=True)
class Kind:
    """What one code stands for.

    Attributes:
        severity: `error` where training fails or learns the wrong thing, `warning` where it may.
        what: What is wrong, as the end of "3 of 100 rows ...".
        fix: What to do.
    """

    severity: str
    what: str
    fix: str


KINDS = {
    # What can be seen in a row of a file
    "unreadable": Kind("error", "cannot be read", "fix the file at the places named"),
    "reads-differently": Kind(
        "warning",
        "are read differently by load_dataset",
        "give it what is named, or Dataset.from_list([row for _, row in onegpu.rows.read(file)])",
    ),
    "unknown-columns": Kind(
        "error",
        "have columns of no format",
        "messages, prompt and completion, text, chosen and rejected; onegpu.rows has converters",
    ),
    "messages-as-text": Kind(
        "error",
        "hold their messages as a string",
        "onegpu.rows.from_encoded, or json.loads, turns them into lists of messages",
    ),
    "mixed-formats": Kind(
        "error",
        "hold messages in one column and text in another",
        "make both messages: completion=[{'role': 'assistant', 'content': ...}]; or both text",
    ),
    "reserved-column": Kind(
        "error", "have a column whose name means something else to trl", "rename the column"
    ),
    "mixed-columns": Kind(
        "error", "have other columns than the first", "give all rows the same columns"
    ),
    "not-text": Kind(
        "error",
        "hold a content that is no string, and that the chat template does not read",
        'make every content a string: "" for null, the joined texts for a list of parts',
    ),
    "huge-cell": Kind("error", "hold over a million characters", "split or remove them"),
    "wrong-roles": Kind(
        "error",
        "have roles in a wrong order",
        "system first or not at all, then user and assistant in turn, assistant last",
    ),
    "unknown-roles": Kind(
        "error",
        "have roles that no chat template knows",
        "system, user, assistant, tool: onegpu.rows.from_sharegpt renames human, gpt and others",
    ),
    "system-ignored": Kind(
        "warning",
        "have a system prompt in a column of its own, which trl ignores",
        "put it into the messages, as the first one; onegpu.rows.from_sharegpt does",
    ),
    "weight-ignored": Kind(
        "error",
        "mark answers that should not be learned, and trl learns them",
        "put them into the prompt: onegpu.rows.from_messages learns the last answer alone",
    ),
    "empty-turn": Kind("error", "have an empty turn", "remove the rows or fill the turn"),
    "template-refuses": Kind(
        "error",
        "are refused by the chat template",
        "as its message says: put the system prompt into the first question, join turns of a role",
    ),
    "left-out": Kind(
        "error",
        "hold something that the chat template leaves out",
        "take a chat template that writes it, or write it into the contents",
    ),
    "thoughts-cut": Kind(
        "warning",
        "have thoughts that the chat template cuts from all answers but the last",
        "onegpu.rows.from_messages makes rows that learn the last answer alone",
    ),
    "arguments-as-text": Kind(
        "error",
        "have tool calls as JSON, which the chat template encodes again or refuses",
        "give objects: onegpu.rows.from_openai decodes them",
    ),
    "nulls-filled-in": Kind(
        "error",
        "give a tool the parameters of other tools, as null",
        "Dataset.from_list(rows, on_mixed_types='use_json'), or load_dataset('json', ...)",
    ),
    # What can be seen in its texts
    "control-characters": Kind(
        "warning",
        "hold null bytes, lost characters (U+FFFD) or other control characters",
        "remove them, or read the source again in its own encoding",
    ),
    "mojibake": Kind(
        "warning",
        "were UTF-8 and have been read as cp1252",
        "text.encode('cp1252').decode('utf-8'), or read the source again as UTF-8",
    ),
    "presentation-forms": Kind(
        "warning",
        "hold the shapes of letters, as PDF files do, instead of the letters",
        "unicodedata.normalize('NFKC', ...) of these characters alone; Arabic may be reversed",
    ),
    "letters-lost": Kind(
        "warning",
        "have words that lack letters: fi, fl and ff, or accents",
        "read the source again by a program that knows them; no rule puts them all back",
    ),
    "letters-reversed": Kind(
        "warning",
        "hold Hebrew or Arabic from left to right, as PDF files show it",
        "line[::-1] for each line, then numbers and Latin words once more; or read it again",
    ),
    "mixed-scripts": Kind(
        "warning",
        "have words with letters of two scripts that look alike",
        "replace them by those of the word's own script",
    ),
    "decomposed": Kind(
        "warning",
        "write letters as a letter and a mark, which makes other tokens",
        "unicodedata.normalize('NFC', text), in training and at inference",
    ),
    "foreign-tokens": Kind(
        "warning",
        "hold special tokens of another model, which are ordinary text to this one",
        "remove them, and give messages: the trainer applies the template of this model",
    ),
    "citation-marks": Kind(
        "warning", "have marks of ChatGPT's sources in an answer", "remove them from the answers"
    ),
    "roles-as-text": Kind(
        "warning",
        "name a role in an answer, or go on in it with the next question",
        "cut the name, or all from the next question on",
    ),
    "unknown-tool": Kind(
        "error", "call a tool that they do not declare", "add it to tools, or correct its name"
    ),
    # What can be seen in its tokens
    "no-template": Kind(
        "error",
        "hold messages, and the tokenizer has no chat template",
        "take an instruct model's tokenizer, or set tokenizer.chat_template",
    ),
    "template-not-applied": Kind(
        "warning",
        "are not in the format of the chat template",
        "give messages, or prompt and completion as messages, not text",
    ),
    "template-twice": Kind(
        "error",
        "hold a template inside a template",
        "give contents without special tokens; the trainer applies the template",
    ),
    "prompt-merges": Kind(
        "warning",
        "have a prompt whose end becomes one token with the beginning of its answer",
        "move the white space from the prompt's end to the answer's beginning",
    ),
    "prompt-differs": Kind(
        "warning",
        "begin differently from the prompt at inference",
        "use one template with the same options on both sides",
    ),
    "double-bos": Kind(
        "error",
        "begin with two BOS tokens",
        "give messages instead of text, or tokenize with add_special_tokens=False",
    ),
    "eos-not-learned": Kind(
        "error",
        "do not learn to end",
        "end each answer with the EOS token, and leave it in the labels",
    ),
    "nothing-learned": Kind(
        "error", "have no learned token", "check the masks and max_length of these rows"
    ),
    "prompt-learned": Kind(
        "warning",
        "learn the prompt too",
        "give prompt and completion, or set assistant_only_loss=True",
    ),
    "no-answer-mask": Kind(
        "error",
        "cannot be masked by assistant_only_loss",
        "leave it False, and give prompt and completion as messages",
    ),
    "rows-dropped": Kind(
        "error",
        "are dropped: max_length leaves nothing to learn",
        "raise max_length, or shorten or remove them",
    ),
    "completion-cut": Kind(
        "error", "are cut by max_length", "raise max_length, or shorten or remove them"
    ),
    "document-cut": Kind(
        "warning",
        "are longer than max_length, and lose the rest of their text",
        "packing=True with packing_strategy='bfd_split', which keeps all of it",
    ),
    "duplicate-rows": Kind("warning", "have been there before", "remove them"),
    "train-test-overlap": Kind(
        "error", "of the evaluation are in the training data", "remove them from one of the two"
    ),
    "length-outlier": Kind(
        "warning", "are over twenty times as long as most", "read them, and remove what is wrong"
    ),
    "script-outlier": Kind(
        "warning", "are in another script than the rest", "read them, and remove what is wrong"
    ),
    "unknown-ids": Kind(
        "error",
        "hold token ids that the tokenizer does not have",
        "make them with the tokenizer of the model that is trained",
    ),
    "embeddings-too-few": Kind(
        "error",
        "hold tokens that the model has no embedding for",
        "model.resize_token_embeddings(len(tokenizer)), before the adapter is added",
    ),
    # What can be seen in all answers together
    "one-answer": Kind(
        "warning",
        "all rows have the same answer, so there is nothing else to learn",
        "add rows with other answers, or look for what filled the column",
    ),
    "labels-vary": Kind(
        "warning",
        "answers differ only in case, white space or the form of their characters",
        "write each label in one way",
    ),
    "line-breaks-escaped": Kind(
        "warning",
        "hold a backslash and an n in place of each line break",
        r'answer.replace(r"\n", "\n"), or read the source as JSON once more',
    ),
    "answers-cut": Kind(
        "warning",
        "the longest answers end in mid-sentence, all after as many characters",
        "export them again, without what cut them",
    ),
    "boilerplate": Kind(
        "warning",
        "nearly all answers begin or end with the same words",
        "remove them, unless the model should write them each time: a program can add them",
    ),
    "layout-lost": Kind(
        "warning",
        "answers have lost line breaks, indentation or brackets that code and lists need",
        "export them again, without what joins lines, or strips white space or tags",
    ),
    "answer-in-prompt": Kind(
        "warning",
        "nearly all prompts hold their answer, so copying is all there is to learn",
        "take it out of the prompts: users won't write it there",
    ),
    "json-broken": Kind(
        "warning",
        "have an answer that is not JSON, though the others are",
        "json.dumps(ast.literal_eval(answer)) for Python's repr; remove what is cut",
    ),
    # What programs left in answers
    "error-messages": Kind(
        "warning",
        "have an error message in place of an answer",
        "ask for these answers again, or remove the rows",
    ),
    "html-remains": Kind(
        "warning",
        "have tags or entities of HTML in an answer",
        "html.unescape(answer) for entities, and a parser's text for tags",
    ),
    "placeholders": Kind(
        "warning",
        "have a placeholder in an answer that nobody filled in",
        "fill it in, or remove the sentence or the row",
    ),
    "cells-damaged": Kind(
        "warning",
        "have an answer that a spreadsheet damaged",
        "export from the source again, and import such columns as text",
    ),
    # What can be seen in answers that are compared or labeled
    "no-prompt": Kind(
        "error",
        "have no prompt that both answers share",
        "give the prompt to a column named prompt, or to both answers as their first turns",
    ),
    "prompt-repeated": Kind(
        "error",
        "repeat the prompt in an answer",
        "take it out of the answers; or remove the column prompt, if all answers repeat all of it",
    ),
    "equal-answers": Kind("error", "have equal answers to choose from", "remove the rows"),
    "scores-contradict": Kind(
        "error",
        "give the rejected answer the better score",
        "swap chosen and rejected, or true and false, there; or remove the rows",
    ),
    "answers-contradict": Kind(
        "warning",
        "contradict another row: the same question, but another label or preference",
        "keep the one that is right",
    ),
    "chosen-longer": Kind(
        "warning",
        "most chosen answers are the longer ones, so length alone may be learned",
        "add pairs whose chosen answer is the shorter one, or remove some of the others",
    ),
    "label-not-bool": Kind(
        "error",
        "have a label that is neither true nor false",
        "make label true or false, not a text or a rating; load_dataset does, of a CSV file",
    ),
    "labels-one-sided": Kind(
        "warning",
        "nearly all labels are of one kind",
        "add rows of the other kind, or set desirable_weight or undesirable_weight in KTOConfig",
    ),
    "bad-answers-learned": Kind(
        "error",
        "learn an answer whose label is false",
        "KTOTrainer, which learns to avoid it; or keep only rows whose label is true",
    ),
    # What can be seen in tokenizer, model and settings
    "no-rows": Kind(
        "error",
        "there are no rows",
        "give your own rows to check_data(): it says why trl dropped them, if it did",
    ),
    "eos-differs": Kind(
        "error",
        "the model does not stop at what ends an answer",
        "SFTConfig(eos_token=...) with the token that the template writes",
    ),
    "pad-is-eos": Kind(
        "error",
        "the collator masks the token that ends an answer, because it is the padding, too",
        "leave data_collator out: trl's own keeps it; or give padding a token of its own",
    ),
    "padding-side": Kind(
        "warning",
        "training batches are padded on the left",
        "tokenizer.padding_side = 'right' for training; left is for generation",
    ),
    "packing-leaks": Kind(
        "warning",
        "packed rows can see their neighbors",
        "packing_strategy='bfd', which keeps them apart",
    ),
    "adapter-frozen": Kind(
        "error",
        "nothing can be trained",
        "PeftModel.from_pretrained(..., is_trainable=True), or give peft_config",
    ),
    "trainable-half": Kind(
        "error",
        "trainable weights are in a number type that fp16 training refuses",
        "training.prepare(trainer), or make trainable weights float32",
    ),
    "updates-rounded": Kind(
        "warning",
        "bfloat16 weights are too coarse for updates of this size",
        "training.prepare(trainer), or make trainable weights float32",
    ),
    "targets-missed": Kind(
        "error",
        "some target_modules match no layer",
        "lora.matching_layers(model, [...]) lists what there is; or 'all-linear'",
    ),
    "new-tokens-untrained": Kind(
        "error",
        "the data use new tokens whose embeddings are not trained",
        "LoraConfig(modules_to_save=['embed_tokens'], ensure_weight_tying=True)",
    ),
    "learning-rate": Kind(
        "warning",
        "the learning rate is of an unusual size",
        "about 1e-4 to 1e-3 for LoRA, 1e-6 to 1e-4 for full fine-tuning",
    ),
    "bf16-missing": Kind(
        "warning", "this GPU only emulates bfloat16, slowly", "SFTConfig(bf16=False, fp16=True)"
    ),
    "worst-kept": Kind(
        "error",
        "the checkpoint that is kept as the best one is the worst one",
        "greater_is_better=False for a loss or a perplexity, True for an accuracy",
    ),
    "generation-config": Kind(
        "error",
        "the generation config cannot be saved, so saving the model will fail",
        "model.generation_config = transformers.GenerationConfig(), or fix what is named",
    ),
    "eval-memory": Kind(
        "warning",
        "evaluation keeps more logits than there is memory",
        "per_device_eval_batch_size=1, eval_accumulation_steps=1, preprocess_logits_for_metrics",
    ),
    "no-gradient": Kind(
        "error",
        "most trainable weights get no gradient",
        "quantization.keep_trainable(model) after loading in 4 bits; never train after eval()",
    ),
    # What the trainer's own loss teaches of the first rows, against what it should
    "tokens-differ": Kind(
        "error",
        "hold tokens that are not their text",
        "tokenize with the tokenizer of this model, or give the trainer messages or text",
    ),
    "answers-swapped": Kind(
        "error",
        "have an answer that belongs to another row",
        "shuffle and sort whole rows, never one column; look at what joined or collated them",
    ),
    "answer-start-masked": Kind(
        "error",
        "the first tokens of each answer are not learned",
        "labels that begin right after the prompt: the model shifts them by itself",
    ),
    "labels-shifted": Kind(
        "error",
        "the loss teaches another token than the next one",
        "shift labels once: models of transformers do, so the collator and the rows must not",
    ),
    "labels-differ": Kind(
        "error",
        "labels are other tokens than those of their row",
        "labels = input_ids, with -100 where nothing is learned",
    ),
    "weights-zero": Kind(
        "error",
        "tokens that should be learned count for nothing",
        "look for zeros and masks in compute_loss, in the collator and in the weights of tokens",
    ),
    "loss-ignores-labels": Kind(
        "error",
        "the loss teaches something else than the labels",
        "use labels in compute_loss, and leave out what is -100 there",
    ),
    "attention-masked": Kind(
        "error",
        "the attention mask hides tokens that are no padding",
        "an attention_mask of 1 at each token of a row, or none",
    ),
    "positions-wrong": Kind(
        "error",
        "position_ids do not count up",
        "leave position_ids out, or count from 0 in each sequence",
    ),
    "reference-differs": Kind(
        "warning",
        "the reference is another model than the one that training starts from",
        "leave ref_model out, or give a copy of the model as it is before training",
    ),
    "rewards-equal": Kind(
        "warning",
        "all completions of a prompt get the same reward, so there is nothing to learn",
        "a reward that differs between completions; print it for a few",
    ),
    # What two steps show, taken and taken back
    "step-fails": Kind(
        "error",
        "a training step ends with an error",
        "as its message says; train() would end with it too",
    ),
    "not-rehearsed": Kind(
        "warning",
        "no step was tried, since it could not be taken back",
        "nothing: the other checks were made; watch the first losses of train()",
    ),
    "one-update": Kind(
        "warning",
        "the run has one update in all",
        "a smaller batch or gradient_accumulation_steps, more epochs or more rows",
    ),
    "rate-zero": Kind(
        "error",
        "the learning rate is zero at every update",
        "a learning_rate above zero, and a schedule that reaches it within the run",
    ),
    "warmup-too-long": Kind(
        "warning",
        "the warm-up is longer than the run",
        "warmup_steps=0.05, which is a part of the run, or a number far below its updates",
    ),
    "wrong-copy": Kind(
        "error",
        "the model that is trained is not the one that is saved",
        "give the trainer the PeftModel itself, or peft_config; make the optimizer of its weights",
    ),
    "layers-frozen": Kind(
        "error",
        "some layers have an adapter that is frozen",
        "requires_grad_(True) for them; LoraConfig(layers_to_transform=...) to leave layers out",
    ),
    "weights-still": Kind(
        "error",
        "weights that should move stay where they are",
        "give the optimizer all trainable weights, each group with a rate above zero",
    ),
    "gradients-tiny": Kind(
        "error",
        "the gradients are so small that the updates are lost",
        "max_grad_norm=1.0, and a loss that is not scaled down",
    ),
    "loss-rises": Kind(
        "error",
        "the loss of a batch rises when the model learns from it",
        "look for a sign: in compute_loss, in the optimizer (maximize), in hooks on gradients",
    ),
    "loss-too-high": Kind(
        "error",
        "the first loss is worse than guessing",
        "check that tokenizer and weights belong together, and that the weights were loaded",
    ),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        code: Its kind, a key of `KINDS`.
        severity: `error` or `warning`.
        found: What was found.
        where: Rows, files, layers or settings.
        fix: What to do.
        link: The address of the course's section that explains it.
    """

    code: str
    severity: str
    found: str
    where: str
    fix: str
    link: str


class Findings(list[Finding]):
    """A list of findings, errors first, shown as a table in a notebook and as text elsewhere."""

    def __init__(self, findings: Iterable[Finding] = ()):
        super().__init__(sorted(findings, key=lambda finding: finding.severity))

    @property
    def codes(self) -> list[str]:
        """The codes, in order."""
        return [finding.code for finding in self]

    def joined(self, others: "Findings") -> "Findings":
        """Return these findings, and those of the others whose kind is not among them."""
        return Findings([*self, *(f for f in others if f.code not in self.codes)])

    def __repr__(self) -> str:
        return "\n".join(
            f"{f.severity.upper():8}{f.code}: {f.found} ({f.where})\n{'':8}fix: {f.fix}\n"
            f"{'':8}read: {f.link}"
            for f in self
        ) or ("nothing found")

    def _repr_html_(self) -> str:
        if not self:
            return "<p>nothing found</p>"
        cells = []
        for f in self:
            first = f'<a href="{html.escape(f.link)}">{f.code}</a> ({f.severity})'
            rest = [html.escape(text) for text in (f.found, f.where, f.fix)]
            row = "".join(f'<td style="text-align:left">{text}</td>' for text in (first, *rest))
            cells.append(f"<tr>{row}</tr>")
        head = "".join(f"<th>{name}</th>" for name in ("finding", "what", "where", "fix"))
        return f"<table><tr>{head}</tr>{''.join(cells)}</table>"


class Tally:
    """Counts what is found, in constant memory: of each kind a number and the first places."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.n_stated = 0  # reports so far that are no matter of rows
        self._counts: collections.Counter[str] = collections.Counter()
        self._last: dict[str, int] = {}  # the row that was counted last
        self._places: dict[str, list[str]] = {}
        self._single: dict[str, Finding] = {}

    def add(self, code: str, place: str, detail: str = "", *, row: int | None = None) -> None:
        """Count a row of a kind, once even if several of its sequences are; or an earlier row."""
        row = self.n_rows if row is None else row
        if self._last.get(code) == row:
            return
        self._last[code] = row
        self._counts[code] += 1
        places = self._places.setdefault(code, [])
        if len(places) < N_PLACES:
            places.append(f"{place}: {detail}" if detail else place)

    def withdraw(self, code: str) -> None:
        """Take back what was counted of a kind."""
        self._counts.pop(code, None)

    def state(
        self, code: str, where: str, *, found: str | None = None, fix: str | None = None
    ) -> None:
        """Report something that is no matter of rows, with words of its own where it has some."""
        self.n_stated += 1
        kind = KINDS[code]
        link = f"{SECTIONS}#{code}"
        self._single[code] = Finding(
            code, kind.severity, found or kind.what, where, fix or kind.fix, link
        )

    def findings(self) -> Findings:
        """Return what was found."""
        for code, count in self._counts.items():
            places, more = self._places[code], count - len(self._places[code])
            where = "; ".join(places) + (f"; {more:,} more" if more else "")
            self.state(code, where, found=f"{count:,} of {self.n_rows:,} rows {KINDS[code].what}")
        return Findings(self._single.values())
