"""Where our own files live on a host. `down` on an adopted host removes exactly these."""

DIRECTORY = "/etc/provision"
OWNER = f"{DIRECTORY}/owner.json"
#: the host's name before our first change of it
HOSTNAME_BEFORE = f"{DIRECTORY}/hostname.before"
#: /etc/hostname as it was, where it was there
HOSTNAME_FILE = f"{DIRECTORY}/hostname.file"
ADDED_KEYS = f"{DIRECTORY}/authorized_keys.added"
#: how long authorized_keys was when its last line had no newline; and that the file, or its folder, was not there
KEYS_UNENDED = f"{DIRECTORY}/authorized_keys.unended"
KEYS_FILE_MADE = f"{DIRECTORY}/authorized_keys.made"
KEYS_FOLDER_MADE = f"{DIRECTORY}/ssh.made"
GROUP_ADDED = f"{DIRECTORY}/docker-group.added"
INSTALLED = f"{DIRECTORY}/packages.installed"
#: every package that was installed before our first installation
PACKAGES_BEFORE = f"{DIRECTORY}/packages.before"
LOADED_IMAGES = f"{DIRECTORY}/images.loaded"
DAEMON_BEFORE = f"{DIRECTORY}/daemon.json.before"
#: the file that the engine ran with before the last change
DAEMON_LAST = f"{DIRECTORY}/daemon.json.last"
#: the engine has not taken over the daemon.json that is there
DAEMON_PENDING = f"{DIRECTORY}/daemon.json.pending"
RULES = f"{DIRECTORY}/firewall.nft"
RULES_LOADED = f"{DIRECTORY}/firewall.loaded"
FIREWALL_UNIT = "provision-firewall.service"
FIREWALL_UNIT_FILE = f"/etc/systemd/system/{FIREWALL_UNIT}"
#: what the boot starts
WANTS = "/etc/systemd/system/multi-user.target.wants"
DAEMON_JSON = "/etc/docker/daemon.json"
TABLE = "inet provision"
#: the engine's own: what it keeps of its swarm from init or join until leave, and its node's certificate
SWARM_STATE = "/var/lib/docker/swarm/docker-state.json"
NODE_CERTIFICATE = "/var/lib/docker/swarm/certificates/swarm-node.crt"
