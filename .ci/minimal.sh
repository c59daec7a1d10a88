#!/usr/bin/env bash
# The libraries with the oldest versions that their manifests allow: what they say of their dependencies is true. In a
# copy, with a lock file of its own. A nightly option of cargo picks those versions; stable cargo does so when told.
#
#   .ci/minimal.sh            cargo check of each library, all features
#   .ci/minimal.sh test       and the core's own tests
set -euo pipefail
cd "$(dirname "$0")/.."

libraries=(core adapter-tokio adapter-async-std)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# Only what a user of the libraries gets: other members' bounds are their own matter. Their tests need those members,
# except the core's.
strip() {
    awk '/^\[/ { off = /^\[dev-dependencies\]/ || /^\[\[example\]\]/ } !off'
}
awk '/^members = \[/ { print "members = [\"core\", \"adapter-tokio\", \"adapter-async-std\"]"; skip = 1 }
    skip { if (/^\]/) skip = 0; next }
    /^exclude = / { next }
    { print }' Cargo.toml >"$copy/Cargo.toml"
for library in "${libraries[@]}"; do
    mkdir "$copy/$library"
    cp -r "$library/src" "$copy/$library/"
    strip <"$library/Cargo.toml" >"$copy/$library/Cargo.toml"
done
cp adapter-async-std/README.md "$copy/adapter-async-std/"
if [[ ${1-} == test ]]; then
    sed -n '/^\[dev-dependencies\]/,/^$/p' core/Cargo.toml >>"$copy/core/Cargo.toml"
fi

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/minimal"
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update -Z direct-minimal-versions
cargo tree --workspace --all-features -e normal --depth 1 --prefix none | grep -v '^handclasp\|^$' | sort -u
for library in handclasp handclasp-tokio handclasp-async-std; do
    printf '+ cargo check -p %s --all-features\n' "$library"
    cargo check --locked -p "$library" --all-features
done
if [[ ${1-} == test ]]; then
    cargo test --locked -p handclasp --all-features --lib
fi
