# The part of work.sh that runs on each host, with $name, $daemon and $table set before it.

read -r hostname </proc/sys/kernel/hostname
if [ "$hostname" != "$name" ]; then
    echo "$name" >/etc/hostname
    hostname "$name"
fi
if ! grep -qx "127\.0\.1\.1 $name" /etc/hosts; then
    hosts=$(grep -v '^127\.0\.1\.1[[:space:]]' /etc/hosts || true)
    printf '%s\n127.0.1.1 %s\n' "$hosts" "$name" >/etc/hosts
fi

if [ "$(cat /etc/nftables-swarm.nft 2>/dev/null)" != "$table" ]; then
    printf '%s\n' "$table" >/etc/nftables-swarm.nft
    nft -f /etc/nftables-swarm.nft
fi

if [ "$(cat /etc/docker/daemon.json 2>/dev/null)" != "$daemon" ]; then
    mkdir -p /etc/docker
    printf '%s\n' "$daemon" >/etc/docker/daemon.json
    systemctl restart docker
fi

# what the engine itself keeps of its swarm: there from init or join until leave
if [ -e /var/lib/docker/swarm/docker-state.json ]; then echo in; else echo out; fi
