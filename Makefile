# Everything runs in .venv, which the first command makes. `make help` lists the commands.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-profiles lab site labtest notebooks flashcards bench measure gpu gpu-tables doctor data images links wheel update clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

# The stamp comes last, so a set-up that was interrupted is begun again. It holds the seconds taken.
$(STAMP): pyproject.toml requirements.txt $(wildcard requirements/*.txt) constraints.txt
	@echo "Setting up .venv: a few minutes, once"
	@start=$$(date +%s) && \
	{ test -f $@ || $(PYTHON) -m venv --clear .venv; } && \
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable ".[dev]" && \
	echo $$(($$(date +%s) - start)) > $@

# What only some commands need: .venv/.site installs the extra `site` of pyproject.toml, and so on.
.venv/.%: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]" && touch $@

# lm-eval, for a test and a benchmark: in a layer over .venv, see benchmarks/harness.txt.
.venv-harness/.installed: $(STAMP) benchmarks/harness.txt
	$(BIN)/python benchmarks/harness.py --set-up && touch $@

run: $(STAMP) ## set up, fetch the model, run Chapter 0, print answers and scores
	@$(BIN)/python -m tools.first_run

test: .venv/.site .venv/.browser .venv-harness/.installed ## set up and run every check
	@$(BIN)/python -m tools.check

test-fast: .venv/.site ## run the checks that take no longer than five minutes together
	@$(BIN)/python -m tools.check --fast

test-profiles: $(STAMP) ## run the chapters as the GPU profiles on this CPU, with the small model
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q --numprocesses 2 tests/profiles

lab: $(STAMP) ## open the course in JupyterLab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/notebooks/00_tldr.ipynb

site: .venv/.site ## build the course as pages that need no network, in _build/html
	@$(BIN)/python -m tools.site.build

labtest: .venv/.browser ## run Chapter 0 in JupyterLab in a browser, five minutes
	FINETUNING_PROFILE=cpu CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest -q tests/lab

notebooks: $(STAMP) ## execute all notebooks in place, as the cpu profile
	FINETUNING_PROFILE=cpu CUDA_VISIBLE_DEVICES= $(BIN)/python -m tools.notebook notebooks/*.ipynb

flashcards: $(STAMP) ## write the flashcards of all chapters for Anki, runs/flashcards.apkg
	@$(BIN)/python -m tools.write_flashcards

bench: $(STAMP) ## time Chapter 0 against the plain way; JSON
	$(BIN)/python benchmarks/main_job.py

measure: $(STAMP) ## measure training steps on this machine beside their plans; JSON
	@$(BIN)/python benchmarks/memory.py > helpers/data/records/memory_new.json && echo "wrote helpers/data/records/memory_new.json"

gpu: $(STAMP) ## measure your card, half an hour; then `make gpu-tables`
	$(BIN)/python benchmarks/gpu.py --out helpers/data/records

gpu-tables: $(STAMP) ## put what `make gpu` measured, and its plans, into README and Appendix A
	$(BIN)/python benchmarks/gpu.py --out helpers/data/records --plan
	$(BIN)/python -m tools.gpu_tables

doctor: ## show what this machine can do and what is missing on it, before the set-up too
	-@$(if $(wildcard $(STAMP)),$(BIN)/python,$(PYTHON)) -m helpers doctor

data: $(STAMP) ## write the Yoda data set from its grammar
	$(BIN)/python -m tools.write_data

images: $(STAMP) ## write the pictures of the Markdown pages
	$(BIN)/python -m tools.write_images

links: $(STAMP) ## REPO=owner/name: set the repository's address in badges and install cells
	$(BIN)/python -m tools.links $(REPO)

wheel: $(STAMP) ## build both packages as one file, in dist: for Colab, or to keep
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

update: $(STAMP) ## try the newest versions beside .venv, run every check, report what broke
	@$(BIN)/python -m tools.update

clean: ## delete .venv, runs and the built site (the fetched model stays)
	rm -rf .venv .venv-update .venv-colab .venv-harness runs _build
