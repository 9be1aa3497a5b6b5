# What one can do here: `make help`. Needs Swift 6.2 or later; on Linux nothing else.
#   BROKER=URL   the broker of `make demo` and `make footprint`, for example amqp://guest:guest@127.0.0.1:5672;
#                none: the embedded one
#   FILTER=REGEX which benchmarks `make bench` runs
#   PREFIX=DIR   where `make install` puts things (/usr/local); DESTDIR=DIR goes in front of it
SOURCES := Sources Tests Tool/Sources Tool/Tests Tool/Fixtures Benchmarks/Sources Benchmarks/HareDoBenchmarks \
	Examples/Sources Package.swift Tool/Package.swift Benchmarks/Package.swift Examples/Package.swift

FILTER := .*

.PHONY: help build demo test test-long fuzz counts counts-update bench footprint routing docs abi format format-check \
	install uninstall package package-test clean toolchain
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

build: toolchain ## the tool, optimised: .build-release/release/haredo
	Scripts/swift build -c release --package-path Tool --product haredo

demo: build ## a short tour on the embedded broker, or on BROKER=URL
	.build-release/release/haredo demo $(if $(BROKER),--broker '$(BROKER)')

test: toolchain ## all tests, on the embedded broker and on RabbitMQ (installed if missing)
	Scripts/test.sh

test-long: toolchain ## .ci/run, then an hour: RabbitMQ killed 20 times, a cluster, bad networks, optimised tests, the thread sanitizer
	Scripts/test-long.sh

fuzz: toolchain ## a minute of libFuzzer on parser, client and broker (Docs/hostile-input.md)
	Scripts/fuzz.sh

counts: toolchain ## instructions and allocations per operation against their baseline (installs valgrind if missing)
	Scripts/counts.sh

counts-update: toolchain ## takes what `make counts` finds for the new baseline
	Scripts/counts.sh update

bench: toolchain ## times and throughput of codec, machines, deliveries and calls; for a machine that does nothing else
	Scripts/swift package --package-path Benchmarks --scratch-path .build-release benchmark --filter '$(FILTER)'

footprint: toolchain ## memory of an idle peer and of a call, cost of a call beside 100,000; on another process, or BROKER=URL
	Scripts/swift build -c release --package-path Benchmarks --product Footprint
	.build-release/release/Footprint $(if $(BROKER),--broker '$(BROKER)')

routing: toolchain ## what finding a message's plugin among 100 costs
	Scripts/swift build -c release --package-path Benchmarks --product Routing
	.build-release/release/Routing

docs: toolchain ## whether every link in comments and articles leads somewhere
	Scripts/docs.sh

abi: toolchain ## whether what is public, and its layout, is what is recorded for the ABI number of plugins
	Scripts/abi.sh

format: toolchain ## puts all Swift files into the project's format
	swift format format --in-place --recursive --parallel $(SOURCES)

format-check: toolchain ## fails where `make format` or a rule has something to say
	swift format lint --strict --recursive --parallel $(SOURCES)

install: build ## the tool with all it needs, completions, manual pages and systemd's unit, below PREFIX (Docs/installing.md)
	Scripts/install.sh

uninstall: ## removes what `make install` put there
	Scripts/install.sh uninstall

package: build ## a Debian package, in .build-package
	Scripts/package.sh

package-test: build ## installs the package on a Debian of its own and looks at all of it; needs root
	Scripts/package-test.sh

clean: ## removes what was built
	rm -rf .build .build-release .build-long .build-tsan .build-objects .build-package

toolchain:
	@command -v swift >/dev/null || { \
	  echo "There is no 'swift' in PATH. Install Swift 6.2 or later: https://www.swift.org/install" >&2; exit 1; }
