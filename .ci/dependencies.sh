#!/usr/bin/env bash
# What the libraries bring into somebody's build: how much, under which licences, and what must never be in it.
# Needs nothing but cargo; cargo-deny (deny.toml) checks more where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# Keep in step with deny.toml.
readonly ALLOWED=' MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Unicode-3.0 Zlib 0BSD CC0-1.0 '
# C code and its build tools, and other people's TLS: they belong to the benchmarks.
readonly FORBIDDEN='aws-lc-rs|aws-lc-sys|aws-lc-fips-sys|bindgen|cc|cmake|native-tls|openssl|openssl-sys|pkg-config|ring|rustls'

failed=0
fail() {
    printf 'FAILED: %s\n' "$*"
    failed=1
}

# name version|licence, one a line; cargo marks repetitions with (*) and drops the licence's doubt with them.
tree() {
    cargo tree --prefix none --format '{p}|{l}' "$@" | sed -E 's/ \(\*\)$//; s/ \([^|]*\)\|/|/' | sort -u
}

# An SPDX expression holds if it does with every allowed licence set to 1 and every other to 0: AND binds closer than OR,
# as && does than ||. Exceptions (WITH) only add permissions.
licence_allowed() {
    local word expression=''
    for word in $(sed -E 's/ WITH [^ )]+//g; s/[()]/ & /g; s:/: OR :g' <<<"$1"); do
        case $word in
        OR) expression+=' || ' ;;
        AND) expression+=' && ' ;;
        '(' | ')') expression+=" $word " ;;
        *) if [[ $ALLOWED == *" $word "* ]]; then expression+=1; else expression+=0; fi ;;
        esac
    done
    [[ -n $expression ]] && ((expression))
}

# check PACKAGE LIMIT [cargo tree options]
check() {
    local package=$1 limit=$2 packages count licence line
    shift 2
    packages=$(tree -p "$package" -e normal "$@")
    count=$(grep -cv '^handclasp' <<<"$packages") || true
    printf '%s: %d packages beside our own, at most %d\n' "$package${*:+ $*}" "$count" "$limit"
    ((count <= limit)) || fail "$package has $count dependencies, more than $limit"

    # Everything that could be built on any target, build scripts and their helpers included.
    packages=$(tree -p "$package" -e normal,build --target all "$@")
    while read -r line; do
        licence=${line#*|}
        licence_allowed "$licence" || fail "$package: ${line%|*} is under \"$licence\""
    done <<<"$packages"
    if line=$(grep -E "^($FORBIDDEN) v" <<<"$packages"); then
        fail "$package needs" $line
    fi
}

# The checker itself: it has to say no.
licence_allowed 'GPL-3.0-only' && fail 'the licence check lets GPL-3.0-only pass'
licence_allowed 'MIT AND GPL-3.0-only' && fail 'the licence check lets an AND with GPL-3.0-only pass'
licence_allowed '' && fail 'the licence check lets an empty licence pass'
licence_allowed '(MIT OR GPL-3.0-only) AND Unicode-3.0' || fail 'the licence check refuses a choice that it could take'

check handclasp 35 --no-default-features
check handclasp 35
# What the adapters' common code adds.
check handclasp 46 --all-features
check handclasp-tokio 50 --all-features
check handclasp-async-std 72 --no-default-features --features smol
# async-std itself.
check handclasp-async-std 82 --all-features

# Of several versions of one crate in a library's tree only one is wanted. (async-std has old ones of its own.)
for package in 'handclasp --all-features' 'handclasp-tokio --all-features' \
    'handclasp-async-std --no-default-features --features smol'; do
    # shellcheck disable=SC2086 # a package and its features
    twice=$(tree -p $package -e normal | sed 's/ v.*//' | uniq -d)
    [[ -z $twice ]] || fail "$package has several versions of" $twice
done

# The core must reach neither the operating system nor a runtime.
if line=$(tree -p handclasp -e normal --no-default-features --target all | grep -E '^(getrandom|mio|rand|socket2|std|tokio|windows-sys) v'); then
    fail 'the core needs' $line
fi

exit "$failed"
