# The front door. Meson does the work; see README.md.
BUILD ?= build
TEST  ?= build-test

.PHONY: all chat test test-clients test-long check bench install clean kernels

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

# Files are found when Meson configures: a folder that changed asks for it again.
FOLDERS := $(shell find src apps tests -type d)

$(BUILD)/build.ninja: $(FOLDERS)
	@tools/install-packages
	@meson setup $$([ ! -e $@ ] || echo --reconfigure) $(BUILD) >/dev/null
	@touch $@

# Talk to the built-in model.
chat: all
	@$(BUILD)/tern chat

# Everything that must pass: the checks of the tree and all tests, with assertions on.
test: $(TEST)/build.ninja
	@ninja -C $(TEST)
	@$(MAKE) --no-print-directory check
	@meson test -C $(TEST) --print-errorlogs

$(TEST)/build.ninja: $(FOLDERS)
	@tools/install-packages test
	@meson setup $$([ ! -e $@ ] || echo --reconfigure) $(TEST) --buildtype=debugoptimized \
	    -Dtests=true >/dev/null
	@touch $@

# What others wrote, in languages with packages of their own, against the built server: installs what it
# needs. CLIENTS= names some of tests/clients/test_*.
test-clients: $(TEST)/build.ninja
	@ninja -C $(TEST) tern
	@TERN=$(TEST)/tern tests/clients/run $(CLIENTS)

# The same tests under the sanitizers, and minutes of fuzzing.
test-long:
	@tools/test-long

# The order of the house: include order, banned calls, layout, what docs name, what the library exports.
check: $(TEST)/build.ninja
	@tools/layers
	@tools/banned
	@tools/format
	@tools/tour
	@ninja -C $(TEST) >/dev/null
	@tools/exports $(TEST)/libtern.so
	@echo 'check: in order'

# Speed of random weights in the shape of BitNet-b1.58-2B-4T: the first run records it for this
# machine, later ones fail when they are 3 % slower. BENCH= says what else to measure.
BENCH      ?= --synthetic 2b4t -r 5
BENCH_FILE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tern/bench.json

bench: all
	@mkdir -p $(dir $(BENCH_FILE))
	@$(BUILD)/tern bench $(BENCH) --baseline $(BENCH_FILE)

install: all
	@meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD) $(TEST)
