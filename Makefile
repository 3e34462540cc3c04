# The targets below are all there is: build, demo, test, race, bench, check, generate, clean.
# They need Go and nothing else; race also needs a C compiler, demo also bash and curl.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GO      ?= go
BIN     := tools/bin

# The parts where two goroutines meet.
RACE_PACKAGES := ./crypto/... ./storage/... ./audit/... ./engine/... ./gateway/...

.PHONY: build demo test race bench check generate clean fmt-check vet staticcheck generated-check

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.buildVersion=$(VERSION)' -o bin/heroctl ./cmd/heroctl

# demo walks through what heroctl does, on a real server in a temporary folder.
demo: build
	./examples/demo/demo.sh

test:
	$(GO) test -timeout 15m ./...

race:
	$(GO) test -race -short -timeout 20m $(RACE_PACKAGES)

# bench prints the figures of docs/benchmarks.md, but those of the process, which name
# their own command there. It takes about ten minutes; quote ratios of one run.
bench:
	$(GO) test -run '^$$' -bench . -benchtime 1s -timeout 60m ./crypto ./storage/... ./audit ./policies ./engine/... ./gateway

# check is what must hold besides the tests. The import table is a test, named here
# so that a plain check finds it too.
check: fmt-check vet staticcheck generated-check
	$(GO) test -run 'TestImport|TestBorders' ./cmd/heroctl

fmt-check:
	@files=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted; run gofmt -w on:"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck: $(BIN)/staticcheck
	$(BIN)/staticcheck ./...

generated-check: generate
	@git diff --exit-code --stat -- schema || { echo "generated files differ; commit what make generate wrote"; exit 1; }
	@files=$$(git ls-files --others --exclude-standard -- schema); \
	if [ -n "$$files" ]; then echo "generated files are not committed:"; echo "$$files"; exit 1; fi

# generate writes the Go, REST and OpenAPI code of the schema. Every tool is pinned by
# the go.mod of its folder below tools/.
generate: $(BIN)/buf $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc $(BIN)/protoc-gen-grpc-gateway $(BIN)/protoc-gen-openapiv3
	$(BIN)/buf lint
	rm -rf $(BIN)/openapi
	$(BIN)/buf generate
	$(GO) run ./schema/internal/openapi

$(BIN)/buf: tools/buf/go.mod tools/buf/go.sum
	$(GO) build -C tools/buf -o ../bin/buf github.com/bufbuild/buf/cmd/buf

$(BIN)/staticcheck: tools/staticcheck/go.mod tools/staticcheck/go.sum
	$(GO) build -C tools/staticcheck -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

$(BIN)/protoc-gen-go: tools/plugins/go.mod tools/plugins/go.sum
	$(GO) build -C tools/plugins -o ../bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go

$(BIN)/protoc-gen-go-grpc: tools/plugins/go.mod tools/plugins/go.sum
	$(GO) build -C tools/plugins -o ../bin/protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(BIN)/protoc-gen-%: tools/plugins/go.mod tools/plugins/go.sum
	$(GO) build -C tools/plugins -o ../bin/protoc-gen-$* github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-$*

clean:
	rm -rf bin $(BIN)
