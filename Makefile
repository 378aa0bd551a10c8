# Everything a user or developer of hearth runs. One profile (release) for all of it, so that RocksDB is compiled once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: run test lint bench help

help:  ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run:  ## build and start hearth on 127.0.0.1:7777 with a demo wallet connection; data in ./data
	@scripts/run.sh

test:  ## build and run every test, real Nostr and wallet clients included
	@scripts/test.sh

lint:  ## formatting, clippy, dependencies' licences and advisories
	@scripts/lint.sh

bench:  ## benchmarks
	@scripts/setup.sh build
	@scripts/build.sh bench
