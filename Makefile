# The front door. Everything behind it is meson and ninja (meson.build) and small scripts.
#
#   make build     build/rhea                  make test       what every change must pass
#   make run       boot Debian's kernel        make test-long  all of it, slow tests too
#   make bench     compare with QEMU           make asan       tests under ASan and UBSan
#   make format    clang-format the tree       make tsan       tests under ThreadSanitizer
#   make install   PREFIX=/usr/local DESTDIR=
#
# BUILD=dir builds elsewhere; T=pattern runs only the tests whose names match (make test T=error).

BUILD  ?= build
PREFIX ?= /usr/local
SUITES  = quick device guest contract fuzz
T      ?=
RUN     = tests/run $(if $(T),--match '$(T)')

.PHONY: build test test-long run bench asan tsan format format-check install clean
.DEFAULT_GOAL := build

$(BUILD)/build.ninja:
	meson setup --prefix $(PREFIX) $(BUILD) $(SETUP)

build:
	@scripts/setup build
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	ninja -C $(BUILD)

test:
	@scripts/setup build test
	@$(MAKE) --no-print-directory build
	$(RUN) --build $(BUILD) $(SUITES)

test-long:
	@scripts/setup build test long
	@$(MAKE) --no-print-directory build
	$(RUN) --build $(BUILD) $(SUITES) long

run:
	@scripts/setup build run
	@$(MAKE) --no-print-directory build
	scripts/run --build $(BUILD)

bench:
	@scripts/setup build bench
	@$(MAKE) --no-print-directory build BUILD=build-bench SETUP='-Dbuildtype=release -Doptimization=2'
	tests/bench/run --build build-bench

asan:
	@scripts/setup build test
	@$(MAKE) --no-print-directory build BUILD=build-asan \
	    SETUP='-Db_sanitize=address,undefined -Db_lundef=false'
	$(RUN) --build build-asan --time 5 quick device contract

tsan:
	@scripts/setup build test
	@$(MAKE) --no-print-directory build BUILD=build-tsan \
	    SETUP='-Db_sanitize=thread -Db_lundef=false'
	$(RUN) --build build-tsan --time 10 quick device

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

format-check:
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror

install: build
	meson configure --prefix $(PREFIX) $(BUILD)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-bench build-clang
