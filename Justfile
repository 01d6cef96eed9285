# klinekeep keeps Binance candles in PostgreSQL. `just` without arguments lists the verbs.

set positional-arguments

# The script prints its own error.
set no-exit-message

# Does what node_modules/.bin/tsx does without its second process: 0.1 s faster, and a signal reaches the script.
# Checks the version first, because an old Node cannot parse the loader and the scripts.
tsx := "node --require " + quote(justfile_directory() / "lib/cli/node-version.cjs") + " --import " + quote(justfile_directory() / "node_modules/tsx/dist/loader.mjs")
scripts := quote(justfile_directory() / "scripts")
bench := quote(justfile_directory() / "bench")

# List the recipes in reading order
[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# A tour: run sync, fetch, update, archive and verify once, in a separate database
[group('begin')]
@demo *options:
    {{ tsx }} {{ scripts }}/demo.ts "$@"

# The embedded PostgreSQL: start, stop, status, psql, url; adopt copies an existing table
[group('begin')]
@db action *options:
    if [ "$1" = adopt ]; then shift; {{ tsx }} {{ scripts }}/db-adopt.ts "$@"; else {{ tsx }} {{ scripts }}/db.ts "$@"; fi

# Register a market's symbols and note which are delisted: just sync --market usdm
[group('candles')]
@sync *options:
    {{ tsx }} {{ scripts }}/sync-instruments.ts "$@"

# Fetch missing history: just fetch BTC/USDT --since 2020-01-01
[group('candles')]
@fetch +symbols:
    {{ tsx }} {{ scripts }}/fetch-history.ts "$@"

# Bring stored series up to the last closed candle: just update --symbol BTC/USDT
[group('candles')]
@update *options:
    {{ tsx }} {{ scripts }}/update-klines.ts "$@"

# Move candles older than DAYS days to the archive tables: just archive 365 --dry-run
[group('keep')]
@archive days *options:
    {{ tsx }} {{ scripts }}/archive.ts "$@"

# Move archived candles back: just restore BTC/USDT --from 2023-01-01 --to 2023-02-01
[group('keep')]
@restore +symbols:
    {{ tsx }} {{ scripts }}/restore.ts "$@"

# List what archive and restore did, the latest first
[group('keep')]
@archive-log *options:
    {{ tsx }} {{ scripts }}/archive-log.ts "$@"

# Check that candles are complete, unique and correct: just verify --repair
[group('keep')]
@verify *options:
    {{ tsx }} {{ scripts }}/verify-integrity.ts "$@"

# List the candles that changed, or for which two sources differed: just repairs BTC/USDT
[group('look')]
@repairs *options:
    {{ tsx }} {{ scripts }}/repairs.ts "$@"

# Print candles of any interval, including archived ones: just candles BTC/USDT 4h --from 30d
[group('look')]
@candles symbol interval *options:
    {{ tsx }} {{ scripts }}/candles.ts "$@"

# Show what is stored, how fresh it is and how the last runs ended: just status --stale 10m
[group('look')]
@status *options:
    {{ tsx }} {{ scripts }}/status.ts "$@"

# List missing candles and why they are missing: just gaps BTC/USDT
[group('look')]
@gaps *options:
    {{ tsx }} {{ scripts }}/gaps.ts "$@"

# Write an HTML page with charts: report.html
[group('look')]
@report *options:
    {{ tsx }} {{ scripts }}/report.ts "$@"

# Print metrics for Prometheus: just metrics --output klinekeep.prom
[group('look')]
@metrics *options:
    {{ tsx }} {{ scripts }}/metrics.ts "$@"

# Print or install crontab lines: just crontab --install
[group('keep')]
@crontab *options:
    {{ tsx }} {{ scripts }}/crontab.ts "$@"

# Print shell completion: just completion bash
[group('begin')]
@completion shell *options:
    {{ tsx }} {{ scripts }}/completion.ts "$@"

# Format, lint and type check, then all tests
[group('develop')]
@test:
    npm --prefix {{ quote(justfile_directory()) }} test

# Run benchmarks against plain SQL and naive code: just bench bulk update archive verify candles status
[group('develop')]
@bench +names:
    for name in "$@"; do {{ tsx }} {{ bench }}/"$name".ts; done
