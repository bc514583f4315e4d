"""What is wrong is said all at once, located, with what to do."""

# ruff: noqa: E501 - a table reads best with a case on a line

from __future__ import annotations

import pytest

HEAD = "name: lab\ndriver: fake\nmachines:\n"
SMALL = HEAD + "  manager: {role: manager}\n"


def test_three_mistakes_are_three_located_messages(problems_of, tmp_path):
    problems = problems_of(
        HEAD + "  manager: {role: manger}\n  worker:\n    role: worker\n    cuont: 2\nfirewal: none\n"
    )
    assert [(p.line, p.column, p.message, p.hint) for p in problems] == [
        (4, 19, "machines.manager.role: must be 'manager' or 'worker', not 'manger'", "did you mean 'manager'?"),
        (7, 5, "unknown key 'cuont'", "did you mean 'count'?"),
        (8, 1, "unknown key 'firewal'", "did you mean 'firewall'?"),
    ]
    assert str(problems[1]) == (
        f"{tmp_path}/inventory.yml:7:5: unknown key 'cuont'\n"
        "        cuont: 2\n"
        "        ^\n"
        "    hint: did you mean 'count'?"
    )


def one(problems):
    (problem,) = problems
    return problem.line, problem.column, problem.message


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "the inventory is empty"),
        ("- a", 1, 1, "an inventory is a mapping: name, driver, machines, …"),
        ("name: [", 1, 8, "while parsing a flow node, expected the node content, but found '<stream end>'"),
        ("name: lab\n\tx: 1", 2, 1, "while scanning for the next token, found character '\\t' that cannot start any token"),
        (SMALL + "ssh: &a {user: *b}", 5, 16, "found undefined alias 'b'"),
        (SMALL + "---\na: 1", 5, 1, "expected a single document in the stream, but found another document"),
        (SMALL + "engine: {daemon: {a: &a [*a]}}", 5, 22, "refers to itself"),
        (SMALL + "name: again", 5, 1, "key 'name' is here twice"),
        (SMALL + "ssh: {port: 0}", 5, 13, "ssh.port: must be 1 or more, not 0"),
        (SMALL + "ssh: {port: abc}", 5, 13, "ssh.port: must be a whole number, not 'abc'"),
        (SMALL + "ssh: {user: 7}", 5, 13, "ssh.user: must be a string, not 7"),
        (SMALL + "ssh: {connect_timeout: soon}", 5, 24, "ssh.connect_timeout: 'soon' is not a duration"),
        (SMALL + "ssh:\n  user: ${WHO}", 6, 9, "the environment variable WHO is not set"),
        (SMALL + "ssh:\n  user: ${WHO:?say who}", 6, 9, "the environment variable WHO is not set: say who"),
        (SMALL + "ssh:\n  user: ${WHO", 6, 9, "'${' is never closed by '}'"),
        (SMALL + "ssh:\n  user: ${1}", 6, 9, "'${1}' is not a reference to a variable"),
        (SMALL + "ssh: !x {}", 5, 6, "the tag '!x' means nothing here"),
        (SMALL + "ssh: {authorized_keys: [no.pub]}", 5, 25, "no.pub: no such file or directory"),
        (SMALL + "engine: {daemon: {live-restore: true}}", 5, 19, "'live-restore' cannot be true on a swarm's member"),
        (SMALL + "swarm: {autolock: yes}", 5, 19, "swarm.autolock: must be true or false, not 'yes'"),
        (SMALL + "swarm: {default_addr_pool: 10.0.0.1/8}", 5, 28, "swarm.default_addr_pool: '10.0.0.1/8' is not an IPv4 network: has host bits set"),
        (SMALL + "swarm: {default_addr_pool: [10.0.0.0/8, 10.2.0.0/16]}", 5, 28, "swarm.default_addr_pool: '10.2.0.0/16' overlaps '10.0.0.0/8'"),
        (SMALL + "swarm: {default_addr_pool: 10.0.0.0/25}", 5, 8, "swarm: a subnet of size 24 does not fit into 10.0.0.0/25"),
        (SMALL + "stacks: {a: no.yml}", 5, 13, "there is no file 'no.yml'"),
        (SMALL + "stacks: {a: {}}", 5, 13, "stacks.a: names no compose file"),
        (SMALL + "stacks: {A_: x}", 5, 10, "'A_' is not a stack's name"),
        (SMALL + "drivers: {fake: {regoin: x}}", 5, 18, "unknown key 'regoin'"),
        (SMALL + "drivers: {fake: {storage: {kind: tape}}}", 5, 34, "drivers.fake.storage.kind: must be 'ssd' or 'hdd', not 'tape'"),
        (SMALL + "drivers: {fkae: {}}", 5, 11, "there is no driver 'fkae'"),
        (SMALL.replace("lab", "Lab"), 1, 7, "name: 'Lab' is not a name"),
        ("driver: fake\nmachines: {m: {role: manager}}", 1, 1, "name is missing"),
        ("name: lab\ndriver: fake\nmachines: {}", 3, 11, "machines: is empty"),
        ("name: lab\nmachines: {m: {role: manager}}", 2, 12, "group 'm' has no driver, and the inventory no default"),
        ("name: lab\ndriver: kafe\nmachines: {m: {role: manager}}", 2, 9, "there is no driver 'kafe'"),
        (HEAD + "  m: {count: 1}", 4, 3, "machines.m.role is missing"),
        (HEAD + "  m: {role: manager, count: 0}", 3, 1, "there is no manager, and a swarm needs one"),
        (HEAD + "  m: {role: worker}", 3, 1, "there is no manager, and a swarm needs one"),
        (HEAD + "  m: {role: manager, memory: 512}", 4, 30, "machines.m.memory: is less than 1 MiB"),
        (HEAD + "  m: {role: manager, regin: x}", 4, 22, "unknown key 'regin'"),
        (HEAD + "  m: {role: manager, zones: many}", 4, 29, "machines.m.zones: must be a whole number, not 'many'"),
        (HEAD + "  m: {role: manager, labels: {a: 1.10}}", 4, 34, "machines.m.labels.a: must be a string, not 1.1"),
        (HEAD + "  m: {role: manager, labels: {provision.x: a}}", 4, 31, "machines.m.labels.provision.x: labels that begin with 'provision.' are provision's own"),
        (HEAD + "  m: {role: manager, hosts: [a]}", 4, 22, "driver 'fake' makes its machines, so hosts cannot be listed"),
        (HEAD + "  m: {role: manager, user_data: no}", 4, 33, "cannot read 'no': no such file or directory"),
        (HEAD + "  m: {role: manager, overrides: {1: {lables: {}}}}", 4, 38, "unknown key 'lables'"),
        (HEAD + "  M: {role: manager}", 4, 3, "'M' is not a name"),
        (HEAD.replace("lab", "l" * 31) + f"  {'m' * 31}: {{role: manager}}", 4, 3, f"'{'l' * 31}-{'m' * 31}-1' is 65 characters, a hostname has 63 at most"),
        (HEAD + "  m: {role: manager, driver: ssh}", 4, 3, "hosts is missing, which driver 'ssh' needs"),
        (HEAD + "  m: {role: manager, driver: ssh, count: 1}", 4, 35, "driver 'ssh' makes no machines, so there is nothing to count"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: [a, b, root@A]}", 4, 49, "A is machines.m.hosts[0] already"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: ['::1', '0:0::1']}", 4, 50, "0:0::1 is machines.m.hosts[0] already"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: [a:99999]}", 4, 43, "machines.m.hosts[0]: 99999 is not a port"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: [1.2.3]}", 4, 43, "machines.m.hosts[0]: '1.2.3' is not an IP address"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: [{address: a, host_key: SHA256:x}]}", 4, 66, "machines.m.hosts[0].host_key: 'SHA256:x' is not a fingerprint"),
        (HEAD + "  m: {role: manager, driver: ssh, hosts: [{addres: a}]}", None, None, None),
        (HEAD + "  m: {role: manager, count: 2}\nswarm: {advertise: 10.0.0.1}", 5, 20, "swarm.advertise is one machine's address, and there are 2 machines"),
    ],
)  # fmt: skip
def test_a_mistake_is_located(problems_of, text, line, column, message):
    problems = problems_of(text)
    if message is None:
        assert problems
        assert all(p.line and p.source for p in problems)
        return
    assert one(problems) == (line, column, message)


def test_names_of_machines_are_once(problems_of):
    problems = problems_of(
        HEAD + "  m: {role: manager}\n  w:\n    role: worker\n    driver: ssh\n    hosts:\n"
        "      - {address: a, name: lab-m-1}\n"
    )
    assert one(problems) == (9, 28, "lab-m-1 is the name of machines.m already")


def test_options_and_group_keys_are_both_known_to_did_you_mean(problems_of):
    problems = problems_of(HEAD + "  m: {role: manager, regin: x, imag: y}")
    assert [p.hint for p in problems] == ["did you mean 'region'?", "did you mean 'image'?"]


def test_slips_are_seen_even_where_the_driver_is_unknown(problems_of):
    problems = problems_of(HEAD + "  m: {role: manager, driver: nope, cuont: 2, zones: 1}")
    assert [p.message for p in problems] == ["there is no driver 'nope'", "unknown key 'cuont'"]


def test_a_value_from_the_environment_is_not_shown(problems_of):
    text = SMALL + "ssh:\n  port: ${SECRET}\n  jump: a@${SECRET}\nengine: {install: '${SECRET}'}\n"
    problems = problems_of(text, SECRET="hunter.2:x")
    assert len(problems) == 3
    assert "hunter" not in "\n".join(str(p) for p in problems).replace("${SECRET}", "")


def test_a_secret_line_of_an_env_file_is_located_but_not_shown(problems_of, tmp_path):
    (tmp_path / "a.yml").touch()
    (tmp_path / "v.env").write_text("A=1\nnonsense hunter2\n")
    (problem,) = problems_of(SMALL + "stacks: {a: {file: a.yml, env_file: v.env}}")
    assert (problem.file, problem.line) == (str(tmp_path / "v.env"), 2)
    assert "hunter2" not in str(problem)


def test_a_broken_variable_is_one_problem_not_two(problems_of):
    problems = problems_of(SMALL.replace("{role: manager}", "\n    role: ${R}\n    image: ${I}"))
    assert [p.message for p in problems] == [
        "the environment variable R is not set",
        "the environment variable I is not set",
    ]


def test_a_private_key_is_refused(problems_of, tmp_path):
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (problem,) = problems_of(SMALL + "ssh: {authorized_keys: [id]}")
    assert (problem.message, problem.hint) == ("id: is a private key", "name the public one, which ends in .pub")


def test_a_flow_reference_without_quotes_has_a_hint(problems_of):
    (problem,) = problems_of(HEAD + "  m: {role: manager, count: ${N:-3}}")
    assert "needs quotes" in problem.hint


def test_a_bomb_of_aliases_is_refused(problems_of):
    lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"y{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    problems = problems_of("\n".join(lines))
    assert any("100000 values" in p.message for p in problems)


def test_text_that_is_not_utf_8_is_located(tmp_path):
    from provision.errors import InventoryError
    from provision.inventory.load import load

    path = tmp_path / "inventory.yml"
    path.write_bytes(b"name: lab\nx: \xff\n")
    with pytest.raises(InventoryError) as caught:
        load(path, environ={})
    assert one(caught.value.problems) == (2, 4, "is not UTF-8 text")
