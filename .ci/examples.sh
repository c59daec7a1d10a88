#!/usr/bin/env bash
# Runs the examples as a newcomer does, and fails if one of them fails.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

# How the examples are called, in one place.
readonly EXAMPLES="${CARGO_TARGET_DIR:-target}/release/examples"
two_nodes() { timeout 60 cargo run --release -p handclasp-tokio --example two_nodes; }
cluster() { timeout 60 cargo run --release -p handclasp-tokio --example cluster -- --seconds 2; }
listen() { exec timeout 60 "$EXAMPLES/listen" --addr 127.0.0.1:0 --key "$@"; }              # KEY_FILE [options]
dial() { timeout 30 "$EXAMPLES/dial" --key "$@"; }                                           # KEY_FILE [options] ADDRESS ID
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

# start NAME [options]: a listener with a key of its own; sets address and id to what it printed.
start() {
    local name=$1 log="$work/$1.log" tenths
    shift
    (listen "$work/$name.key" "$@") >"$log" 2>&1 &
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

cargo build --release -p handclasp-tokio --examples

echo '--- two_nodes'
before=$SECONDS
two_nodes >"$work/two_nodes.log" 2>&1 || fail "two_nodes: status $?"
cat "$work/two_nodes.log"
[[ -s $work/two_nodes.log ]] || fail 'two_nodes printed nothing'
grep -qE "$ID" "$work/two_nodes.log" || fail 'two_nodes named nobody'
# The build before it took its time already; this is the run alone.
((SECONDS - before <= 25)) || fail "two_nodes took $((SECONDS - before)) s"

echo '--- cluster'
cluster >"$work/cluster.log" 2>&1 || fail "cluster: status $?"
sed -n '/^Calls/,$p' "$work/cluster.log"
grep -q '^It adds up' "$work/cluster.log" || fail 'cluster did not say that it adds up'

echo '--- listen and dial'
dialler_id=$(dial "$work/dialler.key" --show-id)
grep -qE "^$ID$" <<<"$dialler_id" || fail 'dial --show-id printed no id'
start first --trust "$dialler_id"
first_address=$address first_id=$id
dial "$work/dialler.key" "$first_address" "$first_id" >"$work/dial.log" 2>&1 || fail "dial: status $?"
cat "$work/dial.log"
grep -qF "$first_id" "$work/dial.log" || fail 'dial did not say whom it reached'
dial "$work/dialler.key" --message 'a message' "$first_address" "$first_id" >"$work/message.log" 2>&1 ||
    fail "dial --message: status $?"
cat "$work/message.log"
grep -qF 'a message' "$work/message.log" || fail 'the message was not echoed'
printf 'one line\nand another\n' | dial "$work/dialler.key" "$first_address" "$first_id" >"$work/lines.log" 2>&1 ||
    fail "dial with lines: status $?"
grep -qF 'and another' "$work/lines.log" || fail 'the lines were not echoed'

# refused WHAT FILE dial-arguments: the dial fails by itself, with a word that helps.
refused() {
    local word=$1 log=$2 status
    shift 2
    if dial "$@" >"$log" 2>&1; then
        fail "dial went through: $word"
    else
        status=$?
    fi
    cat "$log"
    ((status < 100)) || fail "dial did not end by itself: status $status"
    grep -qF -- "$word" "$log" || fail "dial did not say: $word"
}

echo '--- a stranger'
stranger_id=$(dial "$work/stranger.key" --show-id)
refused "--trust $stranger_id" "$work/stranger.log" "$work/stranger.key" "$first_address" "$first_id"
grep -qF -- "--trust $stranger_id" "$work/first.log" || fail 'listen did not say whom it refused'

echo '--- another cluster secret'
echo 'the secret of this cluster' >"$work/secret"
echo 'the secret of another one' >"$work/other"
start secretive --anyone --secret-file "$work/secret"
dial "$work/dialler.key" --secret-file "$work/secret" "$address" "$id" || fail "dial with the secret: status $?"
refused '--secret-file' "$work/other.log" "$work/dialler.key" --secret-file "$work/other" "$address" "$id"
refused '--secret-file' "$work/none.log" "$work/dialler.key" "$address" "$id"

echo '--- dial expecting somebody else'
start second --anyone
second_id=$id
[[ $second_id != "$first_id" ]] || fail 'two key files hold the same key'
refused "$first_id" "$work/wrong.log" "$work/dialler.key" "$first_address" "$second_id"

echo '--- key files'
for key in first second dialler stranger; do
    [[ -s $work/$key.key ]] || fail "$key.key was not made"
    mode=$(stat -c %a "$work/$key.key")
    [[ $mode == 600 ]] || fail "$key.key has mode $mode"
done
echo 'the examples ran'
