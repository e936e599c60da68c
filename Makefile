# make help tells what there is. Everything that is missing is fetched into folders that git ignores.

DIR     ?=
OUT     ?= out
MODEL   ?= demo
ARGS    ?=
# Of the scenes that `make truth` draws, recipes learn from other ones; and of what `make torture` does.
SEED    ?= 424242
KILLS   ?= 200
FILES   ?= 1000000
# Of the program: delta publishes to Delta Lake tables, and takes long to build.
FEATURES ?=

# A libtorch that the user has, by LIBTORCH or in /usr/lib; otherwise one that is fetched.
LIBTORCH_FOLDER ?= $(CURDIR)/.libtorch
ifndef LIBTORCH
  ifneq ($(wildcard /usr/lib/libtorch.so),)
    LIBTORCH := /usr
  else
    LIBTORCH := $(LIBTORCH_FOLDER)
    FETCHED  := $(LIBTORCH_FOLDER)/build-version
  endif
endif
export LIBTORCH

CARGO   ?= cargo
PYTHON  ?= python3
TARGET  := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
PACKAGES := $(CURDIR)/.python
WAREHOUSE_PACKAGES := $(CURDIR)/.python-warehouse

.DEFAULT_GOAL := help
.PHONY: help annotate build truth compare test format lint unit readers test-readers torture million test-delta doctor bench bench-peers peak samples clean prerequisites

help: ## Tell what can be made
	@echo "showtell: an archive of images becomes a table of captions"
	@echo
	@echo "  make annotate DIR=photos [OUT=out] [MODEL=demo] [ARGS=\"--beam 5\"]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

annotate: build ## Caption the images below DIR into the table in OUT
	@test -n "$(DIR)" || { echo "make annotate: say which directory: make annotate DIR=photos" >&2; exit 2; }
	$(TARGET)/release/showtell annotate $(DIR) --out $(OUT) --model $(MODEL) $(ARGS)

build: prerequisites $(FETCHED) ## Build the program, fetching libtorch first if there is none
	$(CARGO) build --release --locked $(if $(FEATURES),--features $(FEATURES))

test: format lint unit readers ## Check format and lints, run all tests, read a table with other readers

format:
	$(CARGO) fmt --check

lint: prerequisites $(FETCHED)
	$(CARGO) clippy --locked --all-targets -- -D warnings

unit: prerequisites $(FETCHED) $(PACKAGES)/installed
	SHOWTELL_READERS=$(PYTHON) PYTHONPATH=$(PACKAGES) $(CARGO) test --locked

readers: build $(PACKAGES)/installed
	$(TARGET)/release/showtell annotate data/samples --quiet --out $(TARGET)/readers --model $(MODEL) \
		--metrics-file $(TARGET)/readers.prom
	PYTHONPATH=$(PACKAGES) $(PYTHON) tests/readers/metrics.py $(TARGET)/readers.prom
	PYTHONPATH=$(PACKAGES) $(PYTHON) tests/readers/read.py $(TARGET)/readers
	$(TARGET)/release/showtell compact $(TARGET)/readers --keep 0
	PYTHONPATH=$(PACKAGES) $(PYTHON) tests/readers/read.py $(TARGET)/readers
	rm -rf $(TARGET)/nights $(TARGET)/nights-archive
	$(PYTHON) tests/readers/nights.py $(TARGET)/release/showtell $(TARGET)/nights
	PYTHONPATH=$(PACKAGES) $(PYTHON) tests/readers/read.py $(TARGET)/nights

test-readers: build $(PACKAGES)/warehouses ## Load a table into ClickHouse, PostgreSQL, Spark, ... (fetches 700 MB)
	PYTHONPATH=$(PACKAGES) $(PYTHON) tests/readers/warehouses.py $(TARGET)/release/showtell $(TARGET)/warehouses

torture: prerequisites $(FETCHED) ## Kill, starve and damage runs, often: KILLS=200 SEED=...
	SEED=$(if $(filter environment command,$(firstword $(origin SEED))),$(SEED),$$(date +%s)) KILLS=$(KILLS) \
		$(CARGO) test --locked --test it torture:: -- --nocapture --test-threads=1

million: build ## Measure nights over FILES=1000000 files
	$(PYTHON) scripts/million.py --showtell $(TARGET)/release/showtell --files $(FILES)

test-delta: prerequisites $(FETCHED) $(WAREHOUSE_PACKAGES)/installed ## Publish to Delta Lake tables, and read them with other readers
	$(CARGO) test --locked --profile warehouse --features delta --lib --test it -- warehouse:: publish::
	PYTHONPATH=$(WAREHOUSE_PACKAGES) $(PYTHON) tests/warehouse/delta.py $(TARGET)/warehouse/showtell

bench: prerequisites $(FETCHED) ## Measure each stage alone: ARGS=beam_search for one of them
	$(CARGO) bench --locked --bench stages -- $(ARGS)

bench-peers: prerequisites $(FETCHED) ## Compare with PyTorch, OpenVINO, ... (fetches 3 GB); on a GPU: ARGS="--device cuda:0"
	$(CARGO) build --release --locked --example peer
	$(PYTHON) benches/peers/run.py $(TARGET)/release/examples/peer $(ARGS)

doctor: build ## Tell what this machine has, and what is missing
	$(TARGET)/release/showtell doctor

truth: build ## Tell how much of what the demonstration model says of 1,000 unseen scenes is true
	rm -rf $(TARGET)/truth
	$(TARGET)/release/showtell scenes --quiet --count 1000 --seed $(SEED) --out $(TARGET)/truth/scenes
	$(TARGET)/release/showtell annotate $(TARGET)/truth/scenes/images --quiet --out $(TARGET)/truth/out \
		--model $(MODEL) --beam 3
	$(TARGET)/release/showtell evaluate --references $(TARGET)/truth/scenes/scenes.json \
		--candidates $(TARGET)/truth/out

compare: build ## Learn all captioners from drawn scenes and compare them; takes most of an hour
	$(PYTHON) scripts/compare.py --showtell $(TARGET)/release/showtell --work $(TARGET)/compare

peak: build ## Tell whether the peak memory of 6,000 images is that of 600
	$(PYTHON) tests/memory/peak.py $(TARGET)/release/showtell data/samples

samples: build ## Draw data/samples again
	$(TARGET)/release/showtell scenes --samples --out data/samples

clean: ## Remove what was built; fetched libraries stay
	$(CARGO) clean

prerequisites:
	@PYTHON=$(PYTHON) CARGO=$(CARGO) sh scripts/prerequisites.sh

$(LIBTORCH_FOLDER)/build-version: scripts/libtorch.py scripts/libtorch-cuda.txt | prerequisites
	$(PYTHON) scripts/libtorch.py --into $(LIBTORCH_FOLDER)
	@touch $@

$(PACKAGES)/installed: tests/readers/requirements.txt | prerequisites
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target $(PACKAGES) -r $<
	@touch $@

$(PACKAGES)/warehouses: tests/readers/warehouses.txt tests/readers/requirements.txt | prerequisites
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target $(PACKAGES) -r $<
	@touch $@

$(WAREHOUSE_PACKAGES)/installed: tests/warehouse/requirements.txt | prerequisites
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target $(WAREHOUSE_PACKAGES) -r $<
	@touch $@
