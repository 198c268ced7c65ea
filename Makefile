# The targets of Sluice. `make run` to try it, `make test` before every change goes out.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.PHONY: build run test tools lint soak bench bench-gate bench-accept bench-gate-selftest loadtest qualify capacity load-tools soak-tools pgo fmt clean

# With two small changes to the code of Go itself: see profiles/overlay.
GO_BUILD = CGO_ENABLED=0 $(GO) build -trimpath $$(GOOS= GOARCH= $(GO) run ./profiles/overlay bin/overlay)

build: ## bin/sluice, one static binary, guided by what was hot when profiles/default.pgo was made
	$(GO_BUILD) $(if $(wildcard profiles/default.pgo),-pgo=profiles/default.pgo) -ldflags '-X main.stamped=$(VERSION)' -o bin/sluice ./cmd/sluice

run: build ## the demo
	bin/sluice demo

# Three passes: as it is shipped, under the race detector, and with returned buffers overwritten, which those who only measure a
# gateway that they have built themselves do not have. A process under the race detector sleeps for a second when it ends, unless told
# otherwise, and the tests start hundreds of them. A test that fails beside others is looked at by itself: see bench/steady.
TEST = GO=$(GO) $(GO) run ./bench/steady -timeout 10m
test: tools lint
	$(TEST) ./...
	GORACE=atexit_sleep_ms=20 $(TEST) -race ./...
	$(TEST) -tags invariants ./cmd/... ./control/... ./proxy/... ./router/... ./tlsterm/...

lint:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "not formatted (make fmt mends it):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...
	GOARCH=arm64 $(GO) vet ./proxy/wire # which calls the kernel by number: those of other processors are others

# $(call install,WHO,TOOL=PACKAGE+PACKAGE ...): installs the packages of the tools that are missing, and nothing when all are there.
define install
@missing=""; \
PATH="$$PATH:/usr/sbin:/sbin"; \
for tool in $(2); do \
	command -v "$${tool%%=*}" >/dev/null || missing="$$missing $$(echo "$${tool#*=}" | tr + ' ')"; \
done; \
if [ -z "$$missing" ]; then exit 0; fi; \
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	echo "$(1) needs$$missing. Install that first: this is not root on a system with apt."; exit 1; \
fi; \
echo "installing$$missing"; \
apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends $$missing
endef

# What the tests need beside Go: a second, independent HTTP server, such a client of HTTP/3, the client of the README, a C compiler for
# the race detector, what runs the official client of gRPC-Web, which npm fetches by itself, a browser, and the store of limits that hosts share.
tools:
	$(call install,make test,nginx=nginx-light curl=curl gtlsclient=ngtcp2-client gcc=gcc+libc6-dev node=nodejs npm=npm \
		chromium=chromium redis-server=redis-server)

soak-tools: tools
	$(call install,make soak,testssl=testssl.sh)

soak: soak-tools ## what takes longer than make test may
	SLUICE_SOAK=1 $(GO) test -run 'Soak|TestReload$$' -timeout 60m ./...

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
	bin/bench-gate -selftest pgo

.PHONY: bin/bench-gate
bin/bench-gate:
	$(GO) build -o $@ ./bench/gate

loadtest: load-tools build bin/loadtest ## Sluice beside nginx and HAProxy, six minutes; ARGS='--thorough' for all of it
	bin/loadtest compare $(ARGS)

# make reports every failure as 2; a script that tells them apart calls bin/loadtest qualify.
qualify: bin/loadtest ## a running gateway: TARGET=http://... RATE=1000 [DURATION=30s P50= P90= P99=50ms P999= ERRORS=0.1% ARGS=...]
	@test -n "$(TARGET)" -a -n "$(RATE)" || { echo "usage: make qualify TARGET=http://... RATE=1000 [DURATION=30s] [P50= P90= P99=50ms P999=] [ERRORS=0.1%] [ARGS='--connections 512']"; exit 2; }
	bin/loadtest qualify --target '$(TARGET)' --rate '$(RATE)' $(if $(DURATION),--duration '$(DURATION)') $(if $(P50),--p50 '$(P50)') \
		$(if $(P90),--p90 '$(P90)') $(if $(P99),--p99 '$(P99)') $(if $(P999),--p99.9 '$(P999)') $(if $(ERRORS),--errors '$(ERRORS)') $(ARGS)

.PHONY: bin/loadtest
bin/loadtest:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/loadtest ./loadtest

capacity: load-tools build bin/loadtest ## the tables of loadtest/CAPACITY.md
	bin/loadtest capacity --write loadtest/CAPACITY.md $(ARGS)

# Takes the profile again that builds are guided by. It is of a build that is not guided itself, so that it says what is hot and
# not what was.
pgo: load-tools bin/loadtest
	$(GO_BUILD) -pgo=off -o bin/sluice ./cmd/sluice
	bin/loadtest pgo

# The load generators and the peers. Installs what is missing, without starting the peers as services.
load-tools:
	$(call install,the load test,wrk=wrk h2load=nghttp2-client nginx=nginx-light haproxy=haproxy varnishd=varnish \
		gcc=gcc+libc6-dev strace=strace taskset=util-linux redis-server=redis-server)

fmt:
	gofmt -w .

clean:
	rm -rf bin coverage.*
