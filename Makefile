# Everything that a newcomer needs. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PYTHON ?= python3
BIN := .venv/bin
LAB := inventories/lab.yml
HELLO := inventories/stacks/hello.tar
# what the lab runs on: a command that must be there, and the Debian package that has it
NEEDS := mmdebstrap:mmdebstrap systemd-nspawn:systemd-container ip:iproute2 nft:nftables ssh:openssh-client curl:curl
# what virtual machines run on, and what libvirt-python is compiled with; a path is a file that must be there
VM_NEEDS := libvirtd:libvirt-daemon-system virsh:libvirt-clients qemu-system-x86_64:qemu-system-x86 \
  qemu-img:qemu-utils mke2fs:e2fsprogs dnsmasq:dnsmasq-base iptables:iptables gcc:gcc pkg-config:pkg-config \
  /usr/include/libvirt/libvirt.h:libvirt-dev /usr/share/OVMF/OVMF_CODE.fd:ovmf

# installs the packages of $(1), pairs as above, that are missing
define install
missing=(); \
for pair in $(1); do \
  wanted=$${pair%%:*}; \
  [ -e "$$wanted" ] || PATH=$$PATH:/usr/sbin:/sbin command -v "$$wanted" >/dev/null || missing+=($${pair##*:}); \
done; \
$(2) \
if [ $${#missing[@]} -gt 0 ]; then \
  $(SUDO) apt-get -q update && $(SUDO) apt-get -q -y install --no-install-recommends $${missing[@]}; \
fi
endef

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | column -t -s $$'\t'

.PHONY: setup
setup: packages .venv/.ready ## Install system packages (apt) and the virtual environment

.PHONY: packages
packages:
	@$(call install,$(NEEDS),$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv);)

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,bench]'
	touch $@

.PHONY: image
image: setup $(HELLO) ## Build the lab's image and the hello stack's, unless they are cached
	$(BIN)/python -m provision_nspawn.image debian-12

$(HELLO): | setup
	$(BIN)/python -m provision_nspawn.hello_image $@

.PHONY: lab
lab: image ## A swarm of three managers and two workers on this machine, with a stack that answers
	$(BIN)/provision up $(LAB)
	$(BIN)/provision docker -c $(LAB) node ls
	$(BIN)/provision docker -c $(LAB) service ls
	curl --fail --silent --show-error --max-time 10 "http://$$($(BIN)/provision ip lab-worker-1):8080/"

.PHONY: lab-down
lab-down: setup ## Remove the lab; nothing of it is left
	$(BIN)/provision down $(LAB) --yes

.PHONY: check
check: setup ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: unit
unit: test-packages ## The tests that need no host
	$(BIN)/pytest -q -n 2 tests/unit tests/cli

.PHONY: test
test: check test-packages test-images ## Everything: checks, unit tests, the main job on real hosts
	$(BIN)/pytest -q -n 2 tests/unit tests/cli
	$(BIN)/pytest -q -n 2 --dist loadfile tests/packaging tests/contract tests/lab

.PHONY: test-vm
test-vm: test-packages test-images ## Real virtual machines: libvirt, cloud-init, snapshots, warm clones
	$(BIN)/pytest -q tests/images tests/vm

# before the tests: inside their namespaces there is no way out to a mirror
.PHONY: test-images
test-images: image test-packages
	$(BIN)/python -m provision_nspawn.image debian-13
	$(BIN)/python -m provision_nspawn.image --bare debian-12
	$(BIN)/provision image build debian-12

.PHONY: test-packages
test-packages: setup
	@command -v docker >/dev/null || { \
	  $(SUDO) apt-get -q update; \
	  $(SUDO) apt-get -q -y install --no-install-recommends docker-cli || \
	  $(SUDO) apt-get -q -y install --no-install-recommends docker.io; }
	@$(call install,$(VM_NEEDS),)
	@$(BIN)/python -c 'import libvirt, pycdlib' 2>/dev/null || \
	  $(BIN)/pip install --quiet -c constraints.txt -e '.[libvirt]'
	$(BIN)/python tests/unit/cloudinit/cloud_init_schemas.py

# as root, like all that boots hosts in namespaces of its own; what it needs from an index it gets before
.PHONY: bench
bench: setup ## Measure provision against other tools on real hosts, and write docs/performance.md (takes long)
	$(SUDO) $(BIN)/python -m bench all

.PHONY: bench-smoke
bench-smoke: image ## Three hosts, provision against a shell script: fails when it is grossly slower
	$(SUDO) $(BIN)/python -m bench smoke

.PHONY: bench-report
bench-report: setup ## Write docs/performance.md anew from the results in .bench/results
	$(BIN)/python -m bench report

.PHONY: clean
clean: ## Remove the virtual environment and caches of the checkout (the lab's images stay)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache dist $(HELLO)
