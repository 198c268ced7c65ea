# The targets of Sluice. `make run` to try it, `make test` before every change goes out.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.PHONY: build run test tools lint soak bench bench-gate bench-accept bench-gate-selftest fmt clean

build: ## bin/sluice, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.stamped=$(VERSION)' -o bin/sluice ./cmd/sluice

run: build ## the demo
	bin/sluice demo

# Three passes: as it is shipped, under the race detector, and with returned buffers overwritten.
test: tools lint
	$(GO) test -timeout 10m ./...
	$(GO) test -timeout 10m -race ./...
	$(GO) test -timeout 10m -tags invariants ./...

lint:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "not formatted (make fmt mends it):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...

# What the tests need beside Go: a second, independent HTTP server, the client of the README, and a C compiler for the
# race detector. Installs what is missing, and nothing when all is there.
tools:
	@missing=""; \
	PATH="$$PATH:/usr/sbin:/sbin"; \
	command -v nginx >/dev/null || missing="$$missing nginx-light"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "The tests need$$missing. Install that first: this is not root on a system with apt."; exit 1; \
	fi; \
	echo "installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing

soak: ## what takes longer than make test may
	SLUICE_SOAK=1 $(GO) test -run Soak -timeout 60m ./...

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Compares the working tree with another commit, the one in bench/BASE unless told: make bench-gate BASE=main~3. Exits with 1
# if a request has become slower or allocates more, with 3 if there is nothing to compare with.
bench-gate: bin/bench-gate
	bin/bench-gate $(if $(BASE),-base "$(BASE)")

# Makes HEAD the base of later changes and adds a line to bench/history.csv. What is worse needs a reason: BECAUSE="..."
bench-accept: bin/bench-gate
	bin/bench-gate -accept $(if $(BASE),-base "$(BASE)") $(if $(BECAUSE),-because "$(BECAUSE)")

# Shows that the gate works: it has to find 10 % and one allocation that are planted, and nothing in ten runs of the same code.
bench-gate-selftest: bin/bench-gate
	bin/bench-gate -selftest slow
	bin/bench-gate -selftest alloc
	bin/bench-gate -selftest same -runs 10

.PHONY: bin/bench-gate
bin/bench-gate:
	$(GO) build -o $@ ./bench/gate

fmt:
	gofmt -w .

clean:
	rm -rf bin coverage.*
