# What is done often. `make` alone lists the targets.

GO ?= go

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

build: ## build the command into ./bin
	$(GO) build -o bin/ ./cmd/brood

test: ## the tests, in at most 3 minutes
	$(GO) test ./...

race: ## the tests with the race detector
	$(GO) test -race ./...

vet: ## go vet and staticcheck
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

cross: ## build and vet for the other platforms
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 $(GO) build ./...
	GOOS=windows GOARCH=amd64 $(GO) vet ./...

long: ## storms and long crash tests, plain and with -race
	BROOD_LONG=1 $(GO) test -count=1 -timeout 60m ./...
	BROOD_LONG=1 $(GO) test -count=1 -race -timeout 60m ./...

fuzz: ## each fuzz test for a minute
	$(GO) test -fuzz FuzzQuoting -fuzztime 1m ./batch
	$(GO) test -fuzz FuzzSyntax -fuzztime 1m ./batch
	$(GO) test -fuzz FuzzTemplate -fuzztime 1m ./batch
	$(GO) test -fuzz FuzzLoad -fuzztime 1m ./internal/journal
	$(GO) test -fuzz FuzzRow -fuzztime 1m ./internal/journal
	$(GO) test -fuzz FuzzConsumer -fuzztime 1m ./internal/ring
	$(GO) test -fuzz FuzzHeads -fuzztime 1m ./internal/wire
	$(GO) test -fuzz FuzzReceive -fuzztime 1m ./internal/link
	$(GO) test -run xxx -fuzz FuzzItem -fuzztime 1m ./share
	$(GO) test -run xxx -fuzz FuzzWorkload -fuzztime 1m ./sched
	$(GO) test -run xxx -fuzz FuzzDecodeError -fuzztime 1m .

bench: ## compare with xargs, GNU parallel and others
	cd bench && $(GO) run . -o ../docs/BENCHMARKS.md

fmt: ## gofmt everything
	gofmt -w .

clean: ## remove what build and test leave here
	rm -rf bin
	$(GO) clean -testcache

ci: ## what CI runs
	.ci/run

.PHONY: help build test race vet cross long fuzz bench fmt clean ci
