PYTHON ?= python3

.PHONY: demo test quick check coverage types format tidy requirements fuzz matrix gpu-check docs

demo:            ## train, evaluate, export and deploy a small PP-YOLOv2 on a generated data set
	$(PYTHON) tools/quickstart.py demo

test:            ## the tests, in an environment made for them
	$(PYTHON) tools/quickstart.py test

quick:           ## the tests of the daily loop, under a minute
	$(PYTHON) tools/quickstart.py test -m quick

check:           ## what CI runs: lint, format, types, tests
	$(PYTHON) tools/quickstart.py check

coverage:        ## the tests, and the share of lines and branches that they run
	$(PYTHON) tools/quickstart.py coverage

types:
	$(PYTHON) -m mypy

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

tidy:            ## clang-tidy over deploy/cpp, both engines; needs it, its packages and openvino
	cmake -S deploy/cpp -B build/tidy -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
	  -DPADDLE_INFERENCE_DIR=$(CURDIR)/tests/deploy/cpp \
	  -DOpenVINO_DIR=$$($(PYTHON) -c "import openvino; print(openvino.__path__[0])")/cmake
	run-clang-tidy -quiet -p build/tidy 'deploy/cpp/(src|tool)/'

requirements:    ## requirements.txt from pyproject.toml
	$(PYTHON) tools/dev/write_requirements.py

fuzz:            ## 20,000 damaged inputs of every kind (the tests run 300)
	$(PYTHON) -m tests.fuzz --count 20000

matrix:          ## versions of Python, Paddle, NumPy and OpenCV: docs/versions.md (hours)
	$(PYTHON) -m nox

gpu-check:       ## speed, boxes, throughput, memory and training on this machine's GPU, in 8 minutes
	$(PYTHON) tools/gpu_check.py

docs:            ## the pages as a site in site/; needs pip install -e ".[docs]"
	$(PYTHON) -m mkdocs build --strict
