# What each target does is said by `make help`; the work is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help run stop test test-all model jackhammer crash faults hostile fuzz coverage install bench clean setup
export PG_CONFIG DATA OPERATIONS TRANSFERS KILLS ROUNDS CALLS SEED SECONDS_EACH TARGETS

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
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

model: ## random operations of every kind against a model and an auditor (OPERATIONS=1000000 SEED=1 ...)
jackhammer: ## 20 sessions, 5 accounts, transfers each way: no deadlock, no lost cent (TRANSFERS=20000)
crash: ## kills backends, workers, the server and a standby's primary under load (KILLS=50)
faults: ## timeouts, cancels, full disks, little memory, prepared transactions, replication (ROUNDS=20)
hostile: ## bad input to every function, attacks by low roles (CALLS=100000)
model jackhammer crash faults hostile:
	@scripts/setup --tests
	@scripts/install
	@scripts/prove $@

coverage: ## counts which of the Rust code the tests run, in a copy of the server; prints a table, HTML in target/coverage
	@scripts/setup --tests
	@scripts/coverage

fuzz: ## libFuzzer over the codec of numeric and every parser, without a server (SECONDS_EACH=60 TARGETS=numeric)
	@scripts/fuzz

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
