# What one can do here: `make help`. Needs Swift 6.2 or later; on Linux nothing else.
#   BROKER=URL  the broker of `make demo`, for example amqp://guest:guest@127.0.0.1:5672; none: the embedded one
SOURCES := Sources Tests Tool/Sources Tool/Tests Package.swift Tool/Package.swift

.PHONY: help build demo test fuzz format format-check clean toolchain
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

build: toolchain ## the tool, optimised: Tool/.build/release/haredo
	swift build -c release --package-path Tool --product haredo

demo: build ## a short tour on the embedded broker, or on BROKER=URL
	Tool/.build/release/haredo demo $(if $(BROKER),--broker '$(BROKER)')

test: toolchain ## all tests, on the embedded broker and on RabbitMQ (installed if missing)
	Scripts/test.sh

fuzz: toolchain ## a minute of libFuzzer on parser, client and broker (Docs/hostile-input.md)
	Scripts/fuzz.sh

format: toolchain ## puts all Swift files into the project's format
	swift format format --in-place --recursive --parallel $(SOURCES)

format-check: toolchain ## fails where `make format` or a rule has something to say
	swift format lint --strict --recursive --parallel $(SOURCES)

clean: ## removes what was built
	rm -rf .build .build-fuzz Tool/.build

toolchain:
	@command -v swift >/dev/null || { \
	  echo "There is no 'swift' in PATH. Install Swift 6.2 or later: https://www.swift.org/install" >&2; exit 1; }
