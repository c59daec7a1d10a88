#!/usr/bin/env bash
# Runs the examples as a newcomer does, and fails if one of them fails.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

# How the examples are called, in one place. What runs on tokio has no prefix, the rest has its runtime's.
readonly EXAMPLES="${CARGO_TARGET_DIR:-target}/release/examples" PREFIXES=('' async_std_ smol_)
package() { if [[ -z $1 ]]; then echo '-p handclasp-tokio'; else echo '-p handclasp-async-std --features smol'; fi; }
two_nodes() { timeout 60 cargo run --release $(package "$1") --example "$1two_nodes"; }      # PREFIX
cluster() { timeout 60 cargo run --release $(package "$1") --example "$1cluster" -- --seconds 2; } # PREFIX
listen() { exec timeout 300 "$EXAMPLES/$1listen" --addr 127.0.0.1:0 --key "${@:2}"; }        # PREFIX KEY_FILE [options]
dial() { timeout 30 "$EXAMPLES/$1dial" --key "${@:2}"; }                                     # PREFIX KEY_FILE [options] ADDRESS ID
# What `listen` prints, wherever it stands on the line.
readonly ADDRESS='127\.0\.0\.1:[1-9][0-9]*' ID='hcl1[02-9ac-hj-np-z]{20,}'

work=$(mktemp -d)
listeners=()
clean_up() {
    local status=$? pid
    for pid in "${listeners[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    if ((status != 0)); then
        tail -n 40 "$work"/*.log 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

# wait_for TEXT FILE
wait_for() {
    local tenths
    for ((tenths = 0; tenths < 100; tenths++)); do
        if grep -qF -- "$1" "$2" 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    fail "nobody said within 10 s: $1"
}

# start PREFIX NAME [options]: a listener with a key of its own; sets address and id to what it printed.
start() {
    local prefix=$1 name=$2 log="$work/$2.log" tenths
    shift 2
    (listen "$prefix" "$work/$name.key" "$@") >"$log" 2>&1 &
    local pid=$!
    listeners+=("$pid")
    for ((tenths = 0; tenths < 100; tenths++)); do
        address=$(grep -oE "$ADDRESS" "$log" | head -n 1) || true
        id=$(grep -oE "$ID" "$log" | head -n 1) || true
        if [[ -n $address && -n $id ]]; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || fail "listen $name ended before it printed its address and id"
        sleep 0.1
    done
    fail "listen $name printed no address and id within 10 s"
}

for prefix in "${PREFIXES[@]}"; do
    cargo build --release $(package "$prefix") --examples
done

for prefix in "${PREFIXES[@]}"; do
    echo "--- ${prefix}two_nodes"
    log="$work/${prefix}two_nodes.log"
    before=$SECONDS
    two_nodes "$prefix" >"$log" 2>&1 || fail "${prefix}two_nodes: status $?"
    cat "$log"
    [[ -s $log ]] || fail "${prefix}two_nodes printed nothing"
    grep -qE "$ID" "$log" || fail "${prefix}two_nodes named nobody"
    # The build before it took its time already; this is the run alone.
    ((SECONDS - before <= 25)) || fail "${prefix}two_nodes took $((SECONDS - before)) s"

    echo "--- ${prefix}cluster"
    log="$work/${prefix}cluster.log"
    cluster "$prefix" >"$log" 2>&1 || fail "${prefix}cluster: status $?"
    sed -n '/^Calls/,$p' "$log"
    grep -q '^It adds up' "$log" || fail "${prefix}cluster did not say that it adds up"
done

# Ten seconds of what runs for minutes: see docs/soak.md.
echo '--- soak'
cargo build --release -p handclasp-examples --example soak
log="$work/soak.log"
timeout 180 "$EXAMPLES/soak" --seed 7 --seconds 10 >"$log" 2>&1 || fail "soak: status $?"
cat "$log"
grep -q '^It adds up' "$log" || fail 'soak did not say that it adds up'

# Each runtime's dialler with each runtime's listener.
for prefix in "${PREFIXES[@]}"; do
    dial "$prefix" "$work/dialler.key" --show-id >"$work/show-id.log" || fail "${prefix}dial --show-id: status $?"
    dialler_id=$(<"$work/show-id.log")
    grep -qE "^$ID$" <<<"$dialler_id" || fail "${prefix}dial --show-id printed no id"
done
for listening in "${PREFIXES[@]}"; do
    start "$listening" "${listening}first" --trust "$dialler_id"
    first_address=$address first_id=$id
    for dialling in "${PREFIXES[@]}"; do
        echo "--- ${listening}listen and ${dialling}dial"
        pair="${dialling}dial to ${listening}listen"
        dial "$dialling" "$work/dialler.key" "$first_address" "$first_id" >"$work/dial.log" 2>&1 ||
            fail "$pair: status $?"
        cat "$work/dial.log"
        grep -qF "$first_id" "$work/dial.log" || fail "$pair: it did not say whom it reached"
        dial "$dialling" "$work/dialler.key" --message 'a message' "$first_address" "$first_id" \
            >"$work/message.log" 2>&1 || fail "$pair, --message: status $?"
        grep -qF 'a message' "$work/message.log" || fail "$pair: the message was not echoed"
        printf 'one line\nand another\n' |
            dial "$dialling" "$work/dialler.key" "$first_address" "$first_id" >"$work/lines.log" 2>&1 ||
            fail "$pair, with lines: status $?"
        cat "$work/lines.log"
        grep -qF 'and another' "$work/lines.log" || fail "$pair: the lines were not echoed"
    done
done

# refused WORD LOG PREFIX dial-arguments: the dial fails by itself, with a word that helps.
refused() {
    local word=$1 log=$2 status
    shift 2
    if dial "$@" >"$log" 2>&1; then
        fail "dial went through: $word"
    else
        status=$?
    fi
    cat "$log"
    ((status == 1)) || fail "dial did not end by itself, or not as a refusal: status $status"
    grep -qF -- "$word" "$log" || fail "dial did not say: $word"
}

for prefix in "${PREFIXES[@]}"; do
    start "$prefix" "${prefix}second" --trust "$dialler_id"
    second=$work/${prefix}second.log second_address=$address second_id=$id

    echo "--- ${prefix}listen and ${prefix}dial: a stranger"
    dial "$prefix" "$work/${prefix}stranger.key" --show-id >"$work/show-id.log" || fail "${prefix}dial --show-id: status $?"
    stranger_id=$(<"$work/show-id.log")
    refused "--trust $stranger_id" "$work/stranger.log" "$prefix" "$work/${prefix}stranger.key" \
        "$second_address" "$second_id"
    grep -qF -- "--trust $stranger_id" "$second" || fail "${prefix}listen did not say whom it refused"

    echo "--- ${prefix}dial expecting somebody else"
    [[ $second_id != "$first_id" ]] || fail 'two key files hold the same key'
    refused "$second_id" "$work/wrong.log" "$prefix" "$work/dialler.key" "$second_address" "$first_id"

    echo "--- ${prefix}listen and ${prefix}dial: another cluster secret"
    echo 'the secret of this cluster' >"$work/secret"
    echo 'the secret of another one' >"$work/other"
    start "$prefix" "${prefix}secretive" --anyone --secret-file "$work/secret"
    dial "$prefix" "$work/dialler.key" --secret-file "$work/secret" "$address" "$id" ||
        fail "${prefix}dial with the secret: status $?"
    refused '--secret-file' "$work/other.log" "$prefix" "$work/dialler.key" --secret-file "$work/other" "$address" "$id"
    refused '--secret-file' "$work/none.log" "$prefix" "$work/dialler.key" "$address" "$id"

    echo "--- ${prefix}listen: Ctrl-C"
    start "$prefix" "${prefix}interrupted" --anyone
    log=$work/${prefix}interrupted.log
    mkfifo "$work/${prefix}typed"
    dial "$prefix" "$work/dialler.key" "$address" "$id" <"$work/${prefix}typed" >"$work/cut.log" 2>&1 &
    dialler=$!
    exec {typed}>"$work/${prefix}typed"
    wait_for 'each line is a call' "$work/cut.log"
    # timeout passes the signal on.
    kill -INT "${listeners[-1]}"
    wait "${listeners[-1]}" || fail "${prefix}listen ended with status $? at Ctrl-C"
    ! wait "$dialler" || fail "${prefix}dial did not mind that its link was gone"
    exec {typed}>&-
    grep -qF 'saying goodbye' "$log" || fail "${prefix}listen did not say goodbye"
    grep -qF 'is gone: goodbye' "$log" || fail "${prefix}listen did not say how its link ended"
    grep -qF 'the listener stops' "$work/cut.log" || fail "${prefix}dial did not say why its link ended"
done

echo '--- key files'
for key in "$work"/{,async_std_,smol_}{first,second,stranger}.key "$work/dialler.key"; do
    [[ -s $key ]] || fail "$key was not made"
    mode=$(stat -c %a "$key")
    [[ $mode == 600 ]] || fail "$key has mode $mode"
done
echo 'the examples ran'
