"""Which mirror an image comes from."""

from __future__ import annotations

from pathlib import Path

from provision.images.apt_sources import Source, host_sources, image_sources, parse_deb822, parse_list

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm
 bookworm-updates
# a comment within
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_gives_each_address_and_suite_that_is_enabled() -> None:
    assert parse_deb822(DEB822) == (
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib")),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "contrib")),
        Source("http://security.example/debian-security", "bookworm-security", ("main",)),
    )


def test_one_line_format_with_options_and_comments() -> None:
    text = (
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/a.gpg] http://mirror.example/debian bookworm main contrib # mine\n"
        "deb-src http://mirror.example/debian bookworm main\n"
    )
    assert parse_list(text) == (Source("http://mirror.example/debian", "bookworm", ("main", "contrib")),)


def test_image_of_another_suite_comes_from_the_hosts_mirrors() -> None:
    assert image_sources("trixie", mirror=None, host=parse_deb822(DEB822)) == (
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://security.example/debian-security trixie-security main",
    )


def test_a_third_party_that_uses_debians_suite_name_is_not_taken_for_the_archive() -> None:
    third = Source("https://vendor.example/stable/debian", "bookworm", ("main",))
    lines = image_sources("bookworm", mirror=None, host=(third, *parse_deb822(DEB822)))
    assert lines[0] == "deb http://mirror.example/debian bookworm main"


def test_named_mirror_brings_its_security_sibling() -> None:
    assert image_sources("bookworm", mirror="http://near.example/debian/", host=()) == (
        "deb http://near.example/debian bookworm main",
        "deb http://near.example/debian bookworm-updates main",
        "deb http://near.example/debian-security bookworm-security main",
    )
    assert image_sources("bookworm", mirror="http://near.example/snapshot", host=()) == (
        "deb http://near.example/snapshot bookworm main",
    )


def test_a_host_without_debian_leaves_the_choice_to_mmdebstrap() -> None:
    ubuntu = Source("http://archive.example/ubuntu", "jammy", ("main",))
    assert image_sources("bookworm", mirror=None, host=(ubuntu,)) == ()


def test_host_sources_reads_both_formats_and_only_what_is_reached_over_http(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb cdrom:[disc]/ bookworm main\ndeb http://a.example/debian sid main\n")
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEB822)
    (folder / "old.list.save").write_text("deb http://saved.example/debian bookworm main\n")
    addresses = [source.uri for source in host_sources(tmp_path)]
    assert addresses == [
        "http://a.example/debian",
        *["http://mirror.example/debian"] * 2,
        "http://security.example/debian-security",
    ]
