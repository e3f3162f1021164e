# Every habit of the house. `just` alone lists them.

_list:
    @"{{just_executable()}}" --list --unsorted

# A federation of 33 boroughs on this machine, with a tour
demo *ARGS:
    cargo run --release -- {{ARGS}}

# The demo on real open data laid out as the README says
demo-real DIR="../shared/data":
    cargo run --release -- --data {{DIR}}

# Ask the demo that is running: just loda query "SELECT …"
loda *ARGS:
    cargo run --release -- loda {{ARGS}}

# All tests
test *ARGS:
    cargo test --release --workspace {{ARGS}}

# Quick check of one crate while working: just check loda-question
check CRATE:
    cargo clippy --release -p {{CRATE}} --all-targets

# The rooms of the house: no circle among modules, no arrow to a later room, files and folders that stay small
structure:
    mkdir -p target && rustc --edition 2024 --test tests/structure.rs -o target/structure && HOUSE="$PWD" target/structure --nocapture

# Formatting and lints, as CI has them
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Format everything
fmt:
    cargo fmt --all

# 33 nodes on 3 and 9 million residents against pooled DataFusion and DuckDB (docs/performance.md): just bench 3000000
bench RESIDENTS="3000000,9000000":
    [ -d target/duckdb ] || { python3 -m venv target/duckdb && target/duckdb/bin/pip install --quiet duckdb; }
    LODA_BENCH_RESIDENTS={{RESIDENTS}} LODA_BENCH_PYTHON=target/duckdb/bin/python cargo bench --bench london

# Node memory at rest, p50 and p99 of a small query over 33 processes
bench-small:
    cargo bench --bench small

# What threshold costs on 3 million records, against none
bench-protection:
    cargo bench --bench protection

# Random questions for hours: just properties 200000
properties CASES="50000" SEED="1":
    LODA_PROPERTY_CASES={{CASES}} LODA_PROPERTY_SEED={{SEED}} cargo test --release --test federation properties -- --nocapture

# Every attack on people at full size, printed (SECURITY.md): families, solver, a million automatic questions, differences, homes, doors
campaign TARGETS="1000" LONDON="small":
    LODA_CAMPAIGN_TARGETS={{TARGETS}} LODA_CAMPAIGN_LONDON={{LONDON}} LODA_AUTOMATIC_QUESTIONS=1000000 cargo test --release --test federation -- --nocapture campaign:: differencing:: closed::unions closed::epochs closed::periods

# Random questions over withheld, incomplete and estimated cells, each value beside that of complete cells: just marked 100000
marked PLANS="100000" FIRST="1000000":
    LODA_MARKED_PLANS={{PLANS}} LODA_MARKED_FIRST={{FIRST}} cargo test --release -p loda-coordinator --lib marks -- --nocapture

# Random tables in random dialects and dirt, drafted and checked, and drafts with identifying columns: just messy 200
messy TABLES="200":
    LODA_TABLES={{TABLES}} LODA_DRAFTS={{TABLES}} cargo test --release --test federation extracts -- --nocapture

# A log on a disk that fails, and on a machine that stops, at every call to the file system: just crash-points 100000
crash-points POINTS="100000" ROUNDS="24":
    TMPDIR=/dev/shm LODA_CRASH_POINTS={{POINTS}} LODA_CRASH_ROUNDS={{ROUNDS}} cargo test --release --test federation crash_points -- --nocapture

# Statements that would cost a coordinator everything, for so many seconds: just hostile-sql 3600
hostile-sql SECONDS="3600" SEED="1":
    LODA_HOSTILE_SECONDS={{SECONDS}} LODA_SEED={{SEED}} cargo test --release --test federation hostile_sql -- --nocapture

# A thousand strangers beside twenty people on one address, for so many seconds in each phase: just strangers 60
strangers SECONDS="60":
    LODA_STRANGERS_SECONDS={{SECONDS}} cargo test --release --test federation strangers -- --nocapture

# The whole suite in random orders: tests that share a federation must not depend on it
shuffle TIMES="10" SEED="1":
    for n in $(seq {{TIMES}}); do RUSTC_BOOTSTRAP=1 cargo test --release --test federation -- -Z unstable-options --shuffle-seed $(({{SEED}} + n)) || exit 1; done

# A CycloneDX list of everything that the programs are made of, beside each (needs cargo-cyclonedx)
sbom:
    command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx
    cargo cyclonedx --format json --spec-version 1.5 --describe binaries

# Licences, advisories and what must never be linked (needs cargo-deny)
deny:
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    cargo deny check

# What an assessment says of every contract, by size of a borough, and of real stops (docs/contracts.md)
assess-contracts SIZES="5000,20000,100000,300000":
    LODA_ASSESS_CONTRACTS={{SIZES}} cargo test --release --test federation contracts_by_what -- --nocapture

# Closed tables under attack at full counts: random unions and least squares, wordings, statements, random questions
closed QUESTIONS="14400":
    LODA_CLOSED_QUESTIONS={{QUESTIONS}} LODA_CLOSED_BOROUGHS=12 LODA_CLOSED_SETS=200 LODA_CLOSED_STATEMENTS=100000 LODA_CLOSED_DRAFTS=1000000 LODA_ORACLE_PAIRS=40 LODA_ORACLE_QUESTIONS=200 cargo test --release --test federation closed:: -- --nocapture

# What an unlimited asker would learn, at the sizes of an independent study (crates/assessment)
assess-sizes:
    LODA_ASSESS_SIZES=1 cargo test --release -p loda-assessment -- --nocapture

# How good figures about people are at 5,000 to 300,000 people a borough, printed
utility:
    LODA_UTILITY=1 cargo test --release --test federation utility:: -- --nocapture

# Processes killed at random moments: just crashes 500
crashes RUNS="500" SEED="1":
    LODA_CRASH_RUNS={{RUNS}} LODA_SEED={{SEED}} cargo test --release --test federation crashes -- --nocapture

# The job protocol under simulated storms, for so many seconds: just simulate 3600
simulate SECONDS="3600" SEED="1":
    LODA_SIMULATION_SECONDS={{SECONDS}} LODA_SEED={{SEED}} cargo test --release --test federation storms -- --nocapture

# Networks that fail between the coordinator and 33 nodes, for hours: just networks 1000
networks ROUNDS="100" SEED="1":
    LODA_NETWORK_ROUNDS={{ROUNDS}} LODA_SEED={{SEED}} cargo test --release --test federation network -- --nocapture

# Floods, each for some milliseconds, printed: what others notice, and memory
floods MS="10000":
    LODA_FLOOD_MS={{MS}} cargo test --release --test federation floods -- --nocapture

# Three hosts in network namespaces, as deploy/hosts/README.md says (needs root)
hosts:
    cargo test --release --test federation hosts -- --nocapture

# What a perturbation table does: just ptable --max-noise 8 --variance 6
ptable *ARGS:
    cargo run --release -- node ptable {{ARGS}}

# How much an attacker learns by averaging over overlapping sets (SECURITY.md)
averaging:
    cargo run --release -p loda-disclosure --example averaging

# Fuzz the fragment decoder for some seconds; an hour: just fuzz 3600 (needs cargo-fuzz)
fuzz SECONDS="60":
    cd fuzz && mkdir -p corpus/fragment && RUSTC_BOOTSTRAP=1 cargo fuzz run fragment corpus/fragment seeds/fragment -- -max_total_time={{SECONDS}} -max_len=4096 -rss_limit_mb=4096

# Fuzz certificates, revocation lists, deny lists, manifests and their signatures, signed questions (needs cargo-fuzz)
fuzz-identity SECONDS="60":
    cd fuzz && mkdir -p corpus/identity && RUSTC_BOOTSTRAP=1 cargo fuzz run identity corpus/identity seeds/identity -- -max_total_time={{SECONDS}} -max_len=4096 -rss_limit_mb=4096

# Fuzz the files of a published query log: notes, checkpoints, keys, bundles, proofs (needs cargo-fuzz)
fuzz-ledger SECONDS="60":
    cd fuzz && mkdir -p corpus/ledger && RUSTC_BOOTSTRAP=1 cargo fuzz run ledger corpus/ledger seeds/ledger -- -max_total_time={{SECONDS}} -max_len=4096 -rss_limit_mb=4096

# Fuzz what anybody sends to the doors: parameters, tokens, keys (needs cargo-fuzz; the first build takes long)
fuzz-doors SECONDS="60":
    cd fuzz && mkdir -p corpus/doors && RUSTC_BOOTSTRAP=1 cargo fuzz run --features sql doors corpus/doors seeds/doors -- -max_total_time={{SECONDS}} -max_len=2048 -rss_limit_mb=4096

# Fuzz SQL to questions for some seconds; an hour: just fuzz-sql 3600. The first build takes long (needs cargo-fuzz)
fuzz-sql SECONDS="60":
    cd fuzz && mkdir -p corpus/sql && RUSTC_BOOTSTRAP=1 cargo fuzz run --features sql sql corpus/sql seeds/sql -- -dict=sql.dict -max_total_time={{SECONDS}} -max_len=2048 -rss_limit_mb=8192 -timeout=60

# What CI runs
ci:
    .ci/run
