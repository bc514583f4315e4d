"""The user's own user data over ours."""

from __future__ import annotations

import email
from typing import Any

import pytest
import yaml
from identities import FULL, KEY, PLAIN

from provision.cloudinit.seed import Identity, check_user_data, render
from provision.driver import Finding, MachineSpec, Role
from provision.errors import DriverError


def config(theirs: str, identity: Identity = PLAIN) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(identity, f"#cloud-config\n{theirs}").user_data)
    return found


def refused(theirs: str, identity: Identity = PLAIN) -> DriverError:
    with pytest.raises(DriverError) as caught:
        render(identity, theirs)
    return caught.value


def test_keys_are_added() -> None:
    found = config("packages: [htop]\nruncmd:\n  - [touch, /root/here]\n")
    assert found["packages"] == ["htop"]
    assert found["runcmd"] == [["touch", "/root/here"]]
    assert found["hostname"] == "lab-worker-1"


def test_mappings_are_merged_and_scalars_are_theirs() -> None:
    found = config("growpart: {mode: 'off'}\nssh_pwauth: true\npackage_update: true\n")
    assert found["growpart"] == {"mode": "off", "devices": ["/"]}
    assert found["ssh_pwauth"] is True
    assert found["package_update"] is True


def test_lists_follow_ours() -> None:
    found = config("write_files:\n  - {path: /etc/motd, content: hello}\n")
    assert [file["path"] for file in found["write_files"]] == [
        "/etc/ssh/sshd_config.d/50-cloud-init.conf",
        "/etc/motd",
    ]


def test_null_takes_a_key_away_but_no_list_of_ours() -> None:
    found = config("resize_rootfs:\nusers:\nwrite_files:\n")
    assert "resize_rootfs" not in found
    assert found["users"][0]["name"] == "root"
    assert len(found["write_files"]) == 1


def test_other_users_come_after_ours() -> None:
    found = config("users:\n  - default\n  - {name: alice, groups: docker}\n")
    assert [user if isinstance(user, str) else user["name"] for user in found["users"]] == ["root", "default", "alice"]


def test_what_they_say_of_the_login_user_is_added_to_it() -> None:
    found = config(
        "users:\n  - ops\n  - {name: ops, groups: docker, shell: /bin/zsh, ssh_authorized_keys: [ssh-ed25519 BBBB]}\n",
        FULL,
    )
    (user,) = found["users"]
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert (user["groups"], user["shell"]) == ("docker", "/bin/zsh")
    assert (user["ssh_authorized_keys"][0], user["ssh_authorized_keys"][-1]) == (KEY, "ssh-ed25519 BBBB")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hostname", "other"),
        ("fqdn", "other.example"),
        ("preserve_hostname", "true"),
        ("ssh_keys", "{ed25519_private: x}"),
        ("ssh_deletekeys", "false"),
        ("ssh_genkeytypes", "[rsa]"),
        ("disable_root", "true"),
        ("hostname", ""),
    ],
)
def test_what_the_identity_needs_is_not_theirs_to_set(key: str, value: str) -> None:
    error = refused(f"#cloud-config\n{key}: {value}\n")
    assert error.summary == f"lab-worker-1: `user_data` sets {key!r}, which provision decides for each machine"
    assert error.hint == f"take {key!r} out of it"


def test_saying_the_same_is_no_contradiction() -> None:
    assert config("disable_root: false\nhostname: lab-worker-1\n")["hostname"] == "lab-worker-1"


def test_the_login_user_keeps_its_rights() -> None:
    assert "sets 'sudo' of user 'ops'" in refused("#cloud-config\nusers: [{name: ops, sudo: false}]\n", FULL).summary


@pytest.mark.parametrize("theirs", ["users: alice, bob", "users: {alice: true}", "write_files: {path: /x}"])
def test_a_list_of_ours_takes_a_list_only(theirs: str) -> None:
    assert "is not a list" in refused(f"#cloud-config\n{theirs}\n").summary


def test_their_braces_are_theirs() -> None:
    assert config("final_message: '{{ version }} is up'\n")["final_message"] == "{{ version }} is up"


def test_values_keep_their_kind() -> None:
    found = config("write_files:\n  - {path: /x, permissions: '0600', content: 'yes'}\nbootcmd: [echo 1, [a, '2']]\n")
    assert found["write_files"][-1] == {"path": "/x", "permissions": "0600", "content": "yes"}
    assert found["bootcmd"] == ["echo 1", ["a", "2"]]


@pytest.mark.parametrize("theirs", ["", "\n \n", "#cloud-config\n", "#cloud-config\n# nothing yet\n"])
def test_nothing_is_nothing(theirs: str) -> None:
    assert render(PLAIN, theirs) == render(PLAIN)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ("#cloud-config\na: [1\n", "not valid YAML: expected ',' or ']'"),
        ("#cloud-config\na: 1\n b: 2\n", "(line 3, column 3)"),
        ("#cloud-config\nwhen: 2030-99-99\n", "not valid YAML"),
        ("#cloud-config\n- a\n", "no mapping"),
        ("packages: [htop]\n", "begins with 'packages: [htop]', and is neither"),
        ("## template: jinja\n#cloud-config\n", "is neither"),
        ("#include\nhttps://example.com/x\n", "is neither"),
        ("#cloud-config-archive\n- {}\n", "is neither"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_machine_s_name(theirs: str, said: str) -> None:
    error = refused(theirs)
    assert error.summary.startswith("lab-worker-1: `user_data`")
    assert said in error.summary
    assert error.hint


def test_a_mistake_does_not_quote_the_line_that_may_hold_a_secret() -> None:
    assert "hunter2" not in str(refused("#cloud-config\npassword: hunter2: x\n"))


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("#!/bin/sh\necho 'grüße' > /root/here\n", "text/x-shellscript"),
        ("#cloud-boothook\n#!/bin/sh\ntrue\n", "text/cloud-boothook"),
    ],
)
def test_a_script_becomes_a_part_beside_ours(script: str, kind: str) -> None:
    text = render(PLAIN, script).user_data
    message = email.message_from_string(text)
    ours, theirs = message.get_payload()
    assert (ours.get_content_type(), theirs.get_content_type()) == ("text/cloud-config", kind)
    assert ours.get_payload(decode=True).decode() == render(PLAIN).user_data
    assert theirs.get_payload(decode=True).decode() == script
    assert text == render(PLAIN, script).user_data
    assert "MIME-Version: 1.0" in text[:4096]


def spec(user_data: str | None) -> MachineSpec:
    return MachineSpec(
        cluster="lab",
        name="lab-worker-1",
        group="worker",
        number=1,
        role=Role.WORKER,
        driver="libvirt",
        user_data=user_data,
    )


@pytest.mark.parametrize("theirs", [None, "#cloud-config\npackages: [htop]\n", "#!/bin/sh\ntrue\n"])
def test_what_can_be_used_is_no_finding(theirs: str | None) -> None:
    assert check_user_data(spec(theirs)) is None


def test_what_cannot_be_used_is_found_before_a_machine_is_made() -> None:
    assert check_user_data(spec("#cloud-config\nhostname: x\n")) == Finding(
        summary="lab-worker-1: `user_data` sets 'hostname', which provision decides for each machine",
        fix="take 'hostname' out of it",
    )
