# klinekeep: Binance candles kept in PostgreSQL. `just` alone lists what there is to do.

set positional-arguments

# What went wrong the script has said itself.
set no-exit-message

# What node_modules/.bin/tsx does, without a second process around it: 0.1 s less, and a kill hits the script.
# The version is looked at first: on an old Node the loader and the scripts do not even parse.
tsx := "node --require " + quote(justfile_directory() / "lib/cli/node-version.cjs") + " --import " + quote(justfile_directory() / "node_modules/tsx/dist/loader.mjs")
scripts := quote(justfile_directory() / "scripts")
bench := quote(justfile_directory() / "bench")

# List the recipes in reading order
[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# The whole way once, in a database of its own
[group('begin')]
@demo *options:
    {{ tsx }} {{ scripts }}/demo.ts "$@"

# The embedded PostgreSQL: start, stop, status, psql, url; adopt copies another program's table
[group('begin')]
@db action *options:
    if [ "$1" = adopt ]; then shift; {{ tsx }} {{ scripts }}/db-adopt.ts "$@"; else {{ tsx }} {{ scripts }}/db.ts "$@"; fi

# Register the symbols of a market, or refresh who is still traded: just sync --market usdm
[group('candles')]
@sync *options:
    {{ tsx }} {{ scripts }}/sync-instruments.ts "$@"

# Years of history, only what is missing: just fetch BTC/USDT --since 2020-01-01
[group('candles')]
@fetch +symbols:
    {{ tsx }} {{ scripts }}/fetch-history.ts "$@"

# Every stored series up to the last closed candle: just update --symbol BTC/USDT
[group('candles')]
@update *options:
    {{ tsx }} {{ scripts }}/update-klines.ts "$@"

# Move candles older than DAYS days to the archive tables: just archive 365 --dry-run
[group('keep')]
@archive days *options:
    {{ tsx }} {{ scripts }}/archive.ts "$@"

# The same move backwards: just restore BTC/USDT --from 2023-01-01 --to 2023-02-01
[group('keep')]
@restore +symbols:
    {{ tsx }} {{ scripts }}/restore.ts "$@"

# What archive and restore did, the latest first
[group('keep')]
@archive-log *options:
    {{ tsx }} {{ scripts }}/archive-log.ts "$@"

# Is every candle there, once, and true? just verify --repair
[group('keep')]
@verify *options:
    {{ tsx }} {{ scripts }}/verify-integrity.ts "$@"

# Candles of any interval, archived ones too: just candles BTC/USDT 4h --from 30d
[group('look')]
@candles symbol interval *options:
    {{ tsx }} {{ scripts }}/candles.ts "$@"

# What is stored, how fresh it is, how the last runs ended: just status --stale 10m
[group('look')]
@status *options:
    {{ tsx }} {{ scripts }}/status.ts "$@"

# An HTML page of it all, with charts: report.html
[group('look')]
@report *options:
    {{ tsx }} {{ scripts }}/report.ts "$@"

# The same numbers for Prometheus: just metrics --output klinekeep.prom
[group('look')]
@metrics *options:
    {{ tsx }} {{ scripts }}/metrics.ts "$@"

# The crontab lines of this checkout: just crontab --install
[group('keep')]
@crontab *options:
    {{ tsx }} {{ scripts }}/crontab.ts "$@"

# What your shell needs to complete all this: just completion bash
[group('begin')]
@completion shell *options:
    {{ tsx }} {{ scripts }}/completion.ts "$@"

# Format, lint and type check, then all tests
[group('develop')]
@test:
    npm --prefix {{ quote(justfile_directory()) }} test

# How fast it is, beside plain SQL and the naive way: just bench bulk update archive verify candles status
[group('develop')]
@bench +names:
    for name in "$@"; do {{ tsx }} {{ bench }}/"$name".ts; done
