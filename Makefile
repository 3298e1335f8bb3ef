PYTHON ?= python3

.PHONY: demo test check lint format

demo:            ## train, evaluate, export and deploy a small PP-YOLOv2 on a generated data set
	$(PYTHON) tools/quickstart.py demo

test:            ## the tests, in an environment made for them
	$(PYTHON) tools/quickstart.py test

check:           ## what CI runs: lint, format, tests
	$(PYTHON) tools/quickstart.py check

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .
