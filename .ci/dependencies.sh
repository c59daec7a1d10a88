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

# No C and nothing like it: no source of it in a package, no `links` to a library of it. Names alone would miss a
# crate that compiles C by other means. And no build script but those that are known, which run nothing but the
# compiler; our own packages have none.
readonly BUILD_SCRIPTS=' curve25519-dalek getrandom libc proc-macro2 quote '
manifests=$(cargo metadata --format-version 1 --locked | grep -o '"manifest_path":"[^"]*"' | cut -d'"' -f4)
check_sources() {
    local package name version folder found
    while read -r name version; do
        package="$name ${version#v}"
        if [[ $name == handclasp* ]]; then
            continue
        fi
        folder=$(grep -F "/$name-${version#v}/Cargo.toml" <<<"$manifests" | head -n 1) || true
        folder=${folder%/Cargo.toml}
        if [[ ! -d $folder ]]; then
            fail "the sources of $package are not where cargo says"
            continue
        fi
        found=$(find "$folder" \( -name '*.c' -o -name '*.cc' -o -name '*.cpp' -o -name '*.h' -o -name '*.[sS]' \
            -o -name '*.asm' -o -name '*.a' -o -name '*.o' \) -not -path '*/tests/*' | head -n 1)
        [[ -z $found ]] || fail "$package has $found"
        ! grep -q '^links *=' "$folder/Cargo.toml" || fail "$package links a library"
        if grep -q '^build *= *"' "$folder/Cargo.toml" && [[ $BUILD_SCRIPTS != *" $name "* ]]; then
            fail "$package has a build script that nobody has read"
        fi
    done
}
packages=$(for package in handclasp 'handclasp --all-features' 'handclasp-tokio --all-features'; do
    # shellcheck disable=SC2086 # a package and its features
    tree -p $package -e normal,build
done | sed 's/|.*//' | sort -u)
check_sources <<<"$packages"
printf '%s packages in the trees of handclasp and handclasp-tokio: no C\n' "$(wc -l <<<"$packages")"
for folder in core adapter-tokio adapter-async-std; do
    [[ ! -e $folder/build.rs ]] && ! grep -q '^build *=' "$folder/Cargo.toml" || fail "$folder has a build script"
done

# The core must reach neither the operating system nor a runtime.
if line=$(tree -p handclasp -e normal --no-default-features --target all | grep -E '^(getrandom|mio|rand|socket2|std|tokio|windows-sys) v'); then
    fail 'the core needs' $line
fi

exit "$failed"
