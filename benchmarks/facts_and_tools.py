"""Train on a catalog's facts and on calls of a tool, as Chapter 8 tells.

facts: ten products that no model knows, as their pages (continued pretraining) or as questions and
answers; three seeds. Asked about these in new phrases, and about six other products.

tools: sixty steps on calls of one tool, asked with new phrases, before and after, with and without
a grammar that allows nothing but a call.

A second run adds the rows that are missing.

usage: python benchmarks/facts_and_tools.py {facts,tools} [--out FILE]
"""

import argparse
import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import teaching
import yoda_runs
from measuring import fill

N_PRODUCTS, N_HELD_OUT = 16, 6
FACTS_STEPS = 100
TOOL_STEPS, N_REQUESTS = 60, 60
LESSONS = ("pages", "questions")


def _question(row: dict[str, Any]) -> dict[str, Any]:
    """Return a catalog's row as prompt and completion."""
    return {
        "prompt": [{"role": "user", "content": row["question"]}],
        "completion": [{"role": "assistant", "content": row["answer"]}],
    }


def _known(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[int]:
    """Ask, and return for each row whether the answer has its value."""
    from onegpu import generation

    prompts = [_question(row)["prompt"] for row in rows]
    answers = generation.ask_all(model, tokenizer, prompts=prompts, batch_size=50)
    return [
        int(bool(re.search(rf"\b{row['value']}\b", answer)))
        for row, answer in zip(rows, answers, strict=True)
    ]


def learn_facts(lesson: str, *, seed: int) -> dict[str, Any]:
    """Train on pages, or on questions in two of three phrases, and ask in the third.

    A page is one row with an empty prompt, so all of it is learned; each step sees four rows.
    """
    from helpers import catalog, recipe
    from onegpu import evaluation

    known, unknown = (
        catalog.products(N_PRODUCTS)[:-N_HELD_OUT],
        catalog.products(N_PRODUCTS)[-N_HELD_OUT:],
    )
    pages = [{"prompt": "", "completion": product.document} for product in known]
    asked = [row for product in known for row in product.rows]
    questions = [_question(row) for row in asked if row["phrasing"] < 2]
    trainer = _train(
        lesson, pages=pages, questions=questions, seed=seed, lora=recipe.lora_settings()
    )
    model, tokenizer = trainer.model, trainer.processing_class
    losses = [
        evaluation.token_losses(model, tokenizer, text=product.document).mean().item()
        for product in known
    ]
    new = [row for product in unknown for row in product.rows]
    return {
        "lesson": lesson,
        "seed": seed,
        "page_loss": round(sum(losses) / len(losses), 3),
        "known": _known(model, tokenizer, [row for row in asked if row["phrasing"] == 2]),
        "unknown": _known(model, tokenizer, [row for row in new if row["phrasing"] == 2]),
    }


def _train(lesson: str, *, pages: list, questions: list, seed: int, lora: dict[str, Any]) -> Any:
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers import environment, models, recipe
    from onegpu import training

    profile = environment.profile("cpu")
    tokenizer = models.load_tokenizer(profile)
    as_text = [
        {
            "prompt": tokenizer.apply_chat_template(
                row["prompt"], tokenize=False, add_generation_prompt=True
            ),
            "completion": row["completion"][0]["content"],
        }
        for row in questions
    ]
    copies = [page for page in pages for _ in range(len(questions) // len(pages))]
    rows = {"pages": copies, "questions": as_text}[lesson]
    set_seed(seed)
    settings = recipe.sft_settings(profile) | {
        "max_steps": FACTS_STEPS,
        "seed": seed,
    }
    trainer = SFTTrainer(
        model=get_peft_model(teaching.base(), LoraConfig(**lora)),
        args=SFTConfig(output_dir=environment.runs_folder() / "checkpoints", **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    training.prepare(trainer)
    trainer.train()
    trainer.model.eval()
    return trainer


def learn_calls(steps: int) -> dict[str, Any]:
    """Train on calls of the tool, or not at all, and judge what is answered to new phrases."""
    from helpers import environment, models, orders, recipe

    rows = orders.requests(240, split="train", seed=1)
    if steps:
        trainer = yoda_runs.fine_tuned(
            teaching.base(),
            lora=recipe.lora_settings(),
            seed=42,
            steps=steps,
            train=[
                {
                    "prompt": orders.prompt(row["request"]),
                    "completion": [{"role": "assistant", "content": row["answer"]}],
                }
                for row in rows
            ],
            max_length=512,
        )
        model = trainer.model
    else:
        model = teaching.base()
    tokenizer = models.load_tokenizer(environment.profile("cpu"))
    test = orders.requests(N_REQUESTS, split="test", seed=2)
    return {"steps": steps, **_judged(model, tokenizer, test)}


def _merged(model: Any, adapter: Path) -> Any:
    """Return a model as floats, with its adapter merged if it has one."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model.dequantize().float()
    model.save_pretrained(adapter)
    full = teaching.base().dequantize().float()
    return PeftModel.from_pretrained(full, adapter).merge_and_unload()


def _judged(model: Any, tokenizer: Any, test: list[dict[str, Any]]) -> dict[str, Any]:
    """Judge free answers, and answers under a grammar, by a server of the merged model."""
    from helpers import orders
    from onegpu import generation, gguf, serving

    prompts = [orders.prompt(row["request"]) for row in test]
    free = generation.ask_all(model, tokenizer, prompts=prompts, max_new_tokens=48)
    with tempfile.TemporaryDirectory() as folder:
        _merged(model, Path(folder) / "adapter").save_pretrained(Path(folder) / "merged")
        tokenizer.save_pretrained(Path(folder) / "merged")
        file = gguf.convert(Path(folder) / "merged", Path(folder) / "model.gguf")
        with serving.serve(file) as server:
            forced = [
                serving.request(server, "/v1/chat/completions", orders.constrained(prompt))[
                    "choices"
                ][0]["message"]["content"]
                for prompt in prompts
            ]
    return {
        way: {
            what: [int(found[what]) for found in judged if what in found]
            for what in ("json", "name", "arguments", "text")
        }
        for way, judged in (
            ("free", [orders.judge(a, row) for a, row in zip(free, test, strict=True)]),
            ("grammar", [orders.judge(a, row) for a, row in zip(forced, test, strict=True)]),
        )
    }


def jobs_of(part: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the jobs of a part."""
    if part == "tools":
        return {f"{n} steps": functools.partial(learn_calls, n) for n in (0, 15, TOOL_STEPS)}
    return {
        f"{lesson}, seed {seed}": functools.partial(learn_facts, lesson, seed=seed)
        for seed in yoda_runs.SEEDS
        for lesson in LESSONS
    }


def main() -> None:
    """Run what a record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("facts", "tools"))
    parser.add_argument("--out", type=Path, help="the record")
    options = parser.parse_args()
    from helpers import environment

    environment.quiet()
    out = options.out or teaching.RECORDS / f"{options.part}_cpu.json"
    steps = {"facts": FACTS_STEPS, "tools": TOOL_STEPS}[options.part]
    fill(out, jobs_of(options.part), steps=steps)


if __name__ == "__main__":
    main()
