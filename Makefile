# What each target does is said by `make help`; the work is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help run stop test test-all install bench clean setup
export PG_CONFIG DATA

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PG_CONFIG=/path/to/pg_config chooses the server, DATA=/path/to/exact.csv the file that run replays."

run: ## sets everything up, starts a private cluster and runs the demo in it
	@scripts/setup
	@scripts/install
	@scripts/cluster start neobank
	@scripts/demo

stop: ## stops the cluster that run started
	@scripts/cluster stop neobank

test: ## sets everything up and runs every test
	@scripts/setup --tests
	@scripts/test

test-all: test ## the same, then again on PostgreSQL 17 and 18 where those can be had
	@scripts/test-all

install: ## builds and installs the extension into the server of PG_CONFIG
	@scripts/setup
	@scripts/install

bench: ## measures against the same ledger in PL/pgSQL and prints ratios (half an hour; bench/run says how to shorten it)
	@scripts/setup --bench
	@scripts/install
	@bench/run

setup: ## installs what is missing to build and test
	@scripts/setup --tests

clean: ## stops the clusters and removes everything that was built
	@scripts/clean
