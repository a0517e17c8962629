PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: help constraints demo test golden oracles lint types clean

help:  ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: .venv/offline  ## ten clients, one liar, FedAvg and Dim-Krum side by side, with the natural rate
	@$(BIN)/hauberk run experiments/configs/quickstart.toml --set aggregator.name=fedavg --out $(DEMO)/fedavg
	@$(BIN)/hauberk run experiments/configs/quickstart.toml --out $(DEMO)/dim_krum
	@$(BIN)/hauberk compare $(DEMO)/fedavg $(DEMO)/dim_krum --plot $(DEMO)/comparison.png

test: .venv/dev  ## run the whole default test suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

fuzz: .venv/dev  ## test the properties on a hundred times as many examples, drawn anew each time
	@HYPOTHESIS_PROFILE=fuzz OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m hypothesis -n 2 --timeout 3600 --durations 10

golden: .venv/dev  ## record the golden runs' digests anew, where results are meant to move
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/golden/record.py

oracles: .venv/dev  ## compare our rules with independent implementations, which no part of the product needs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps byzfl==0.0.11 geom-median==0.1.0
	@for name in JiiahaoXU/AlignIns siquanhuang/Multi-metrics zaixizhang/FLDetector; do \
		test -d .oracles/$${name#*/} || git clone --quiet --depth 1 https://github.com/$$name .oracles/$${name#*/} || exit 1; done
	@HAUBERK_OFFICIAL=.oracles OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/strategies/test_oracles.py \
		tests/strategies/test_official_code.py

lint: .venv/dev types  ## run the linters: ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.types $(BIN)/mypy -p hauberk
	$(BIN)/lint-imports

types:  # mypy needs the packages under their installed names
	@mkdir -p .types/hauberk
	@for folder in tasks strategies attacks clients server experiments; do ln -sfn ../../$$folder .types/hauberk/$$folder; done

.venv/offline: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[simulation,offline]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/offline

constraints: .venv/dev  ## pin what is installed now
	@$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:  ## remove the environment and the demo's runs
	rm -rf .venv .types $(DEMO)
