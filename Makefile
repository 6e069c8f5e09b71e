# dpuflow: `make` runs the whole flow, `make test` the tests. Both set themselves up in .venv.

MODEL        ?= chars74k
TARGET       ?= zedboard
BUILD        ?= build
PYTHON       ?= python3
VENV         := .venv
BIN          := $(VENV)/bin
STAGE         = $(BIN)/python scripts/stage.py
STAGE_FLAGS   = --model $(MODEL) --build $(BUILD)
TRAIN_FLAGS  ?=
export TF_CPP_MIN_LOG_LEVEL ?= 2

.NOTPARALLEL:
.PHONY: all help setup setup-train train freeze quantize compile emulate report elf board-bundle test test-armhf test-arm64 test-cpus check bench accuracy accuracy-captcha accuracy-quantizer accuracy-cifar10 lock clean distclean
.DEFAULT_GOAL := all

all: report  ## all stages, then the report (default)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# The environment: one folder, exact versions with hashes, made again only when the lock file changes.
$(VENV)/.core: requirements/core.lock pyproject.toml
	$(PYTHON) scripts/setup_venv.py $(VENV) core
$(VENV)/.train: requirements/train.lock $(VENV)/.core
	$(PYTHON) scripts/setup_venv.py $(VENV) train
$(VENV)/.dev: requirements/dev.lock $(VENV)/.train
	$(PYTHON) scripts/setup_venv.py $(VENV) dev

setup: $(VENV)/.core  ## install the core (no TensorFlow)
setup-train: $(VENV)/.train  ## install what training needs too

train: $(VENV)/.train  ## learn the network (DPUFLOW_DATA: real data, else built-in glyphs)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python train/train.py --model $(MODEL) --out $(BUILD)/$(MODEL)/train $(TRAIN_FLAGS)

freeze: train  ## a frozen TensorFlow-1 graph
	$(BIN)/python train/freeze.py --model $(MODEL) --train $(BUILD)/$(MODEL)/train --out $(BUILD)/$(MODEL)/freeze

quantize: freeze  ## decent_q: quantize_eval_model.pb and deploy_model.pb
	$(STAGE) quantize $(STAGE_FLAGS)

compile: quantize  ## dnnc: kernels for the DPU of TARGET
	$(STAGE) compile $(STAGE_FLAGS) --target $(TARGET)

emulate: compile  ## both engines on the whole test set
	$(STAGE) emulate $(STAGE_FLAGS)

report: emulate  ## build/<model>/report/report.html
	$(STAGE) report $(STAGE_FLAGS)

elf: quantize  ## the vendor's dnnc: the .so for N2Cube (DCF=board.dcf, VENDOR_FLAGS=--licence-accepted)
	$(BIN)/dpuflow compile $(BUILD)/$(MODEL)/quantize/deploy_model.pb --backend vendor --target $(TARGET) \
		$(if $(DCF),--dcf $(DCF)) -o $(BUILD)/$(MODEL)/elf/$(MODEL).so $(VENDOR_FLAGS)

board-bundle: compile  ## one archive to copy to a board (ELF=libdpumodel<name>.so: the vendor's library)
	$(BIN)/python scripts/bundle_board.py --model $(MODEL) --build $(BUILD) $(if $(ELF),--elf $(ELF))

test: $(VENV)/.dev  ## all tests
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-armhf:  ## the board's tests on a 32-bit ARM Python (Debian packages, qemu-user; no root needed)
	sh scripts/test_armhf.sh $(BUILD)/armhf

test-arm64: $(VENV)/.core  ## the engines' tests on a 64-bit ARM processor (Debian packages, qemu-user; no root needed)
	PYTHON=$(BIN)/python sh scripts/test_arm64.sh $(BUILD)/arm64

test-cpus: $(VENV)/.core  ## the fast engine's self-test on older x86-64 processors (qemu-user)
	PYTHON=$(BIN)/python sh scripts/test_cpus.sh

check: $(VENV)/.dev  ## lint, types, generated files
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/supported_ops.py --check
	$(BIN)/python scripts/instructions.py --check

bench: $(VENV)/.dev  ## speed and memory as ratios in one run
	$(BIN)/python scripts/bench.py

accuracy: $(VENV)/.train  ## accuracy on real data (DPUFLOW_DATA), several seeds; takes hours
	$(BIN)/python scripts/accuracy.py

accuracy-captcha: $(VENV)/.train  ## captcha networks by cross-validation (DPUFLOW_DATA); takes hours
	$(BIN)/python scripts/accuracy_captcha.py

CIFAR        := mobilenet_cifar10 vgg_cifar10
accuracy-quantizer: freeze  ## what each quantization recipe loses: MODEL, and CIFAR-10 networks with DPUFLOW_DATA
	$(BIN)/python scripts/accuracy_quantizer.py --views $(BUILD)/$(MODEL)
	@test -z "$$DPUFLOW_DATA" || $(MAKE) --no-print-directory accuracy-cifar10
accuracy-cifar10: $(VENV)/.train
	for name in $(CIFAR); do \
	  $(BIN)/python train/cifar10.py --model $$name --out $(BUILD)/$$name/train --resume && \
	  $(BIN)/python train/freeze.py --from $(BUILD)/$$name/train/model.keras --out $(BUILD)/$$name/freeze || exit 1; done
	$(BIN)/python train/rescale_channels.py --train $(BUILD)/mobilenet_cifar10/train --out $(BUILD)/mobilenet_hard/train
	$(BIN)/python train/freeze.py --from $(BUILD)/mobilenet_hard/train/model.keras --out $(BUILD)/mobilenet_hard/freeze
	$(BIN)/python scripts/accuracy_quantizer.py $(addprefix $(BUILD)/,$(CIFAR) mobilenet_hard)

lock: $(VENV)/.dev  ## write the lock files anew
	$(BIN)/python scripts/lock.py

clean:  ## remove build/
	rm -rf $(BUILD)

distclean: clean  ## remove the environment too
	rm -rf $(VENV)
