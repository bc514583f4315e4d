#!/usr/bin/env bash
# work.sh FOLDER: the whole work on all hosts at once. FOLDER holds `hosts` (lines: name address role), `daemon.json`,
# `table.nft`, `ssh_config`; connections stay open below it. Prints how many nodes are ready.
set -euo pipefail
settling=$(<"$(dirname "$0")/settle.sh")
cd "$1"
mkdir -p out

quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# on NAME: runs the script on stdin there, as root. Nothing of it is in an argument list of this machine.
on() { ssh -F ssh_config -T "$1" sh -eus 2>"out/$1.err"; }

daemon=$(quote "$(<daemon.json)")
table=$(quote "$(<table.nft)")

# Brings one host to where it can join; says whether it is `in` or `out` of a swarm.
settle() {
    on "$1" <<EOF
name=$1 daemon=$daemon table=$table
$settling
EOF
}

# Makes the swarm if there is none yet; says the tokens, the worker's and the manager's.
found() {
    on "$1" <<EOF
[ "$3" = in ] || docker swarm init --advertise-addr $2 >/dev/null
docker swarm join-token -q worker
docker swarm join-token -q manager
EOF
}

# An engine that says after 20 s that it goes on joining has not failed: the nodes are counted at the end.
join() {
    on "$1" <<EOF
docker swarm join --advertise-addr $2 --token $3 $leader_address:2377 >/dev/null ||
    docker info --format '{{.Swarm.LocalNodeState}}' | grep -qxE 'pending|active'
EOF
}

fail() {
    for name in "$@"; do
        echo "$name failed: $(<"out/$name.err")" >&2
    done
    exit 1
}

# Stage 1: all hosts at once.
names=() failed=()
declare -A address role job
while read -r name at as; do
    names+=("$name") address[$name]=$at role[$name]=$as
    settle "$name" >"out/$name" &
    job[$name]=$!
done <hosts

# Stage 2: the first manager starts the swarm as soon as it is settled itself, while others still restart.
leader=${names[0]} leader_address=${address[${names[0]}]}
wait "${job[$leader]}" || fail "$leader"
tokens=()
if [[ $(<"out/$leader") == out ]]; then
    mapfile -t tokens < <(found "$leader" "$leader_address" out)
fi
for name in "${names[@]:1}"; do
    wait "${job[$name]}" || failed+=("$name")
done
((${#failed[@]} == 0)) || fail "${failed[@]}"

# Stage 3: all joins at once.
outside=()
for name in "${names[@]:1}"; do
    [[ $(<"out/$name") == in ]] || outside+=("$name")
done
if ((${#outside[@]} > 0)); then
    ((${#tokens[@]} > 0)) || mapfile -t tokens < <(found "$leader" "$leader_address" in)
    ((${#tokens[@]} == 2)) || fail "$leader"
    for name in "${outside[@]}"; do
        token=${tokens[0]}
        [[ ${role[$name]} == worker ]] || token=${tokens[1]}
        join "$name" "${address[$name]}" "$token" &
        job[$name]=$!
    done
    for name in "${outside[@]}"; do
        wait "${job[$name]}" || failed+=("$name")
    done
    ((${#failed[@]} == 0)) || fail "${failed[@]}"
fi

on "$leader" <<EOF || fail "$leader"
deadline=\$((\$(date +%s) + 60))
until ready=\$(docker node ls --format '{{.Status}}' | grep -cx Ready || true); [ "\$ready" -eq ${#names[@]} ]; do
    [ "\$(date +%s)" -lt "\$deadline" ] || { echo "\$ready of ${#names[@]} nodes are ready" >&2; exit 1; }
    sleep 0.1
done
echo "\$ready nodes ready"
EOF
