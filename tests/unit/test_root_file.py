"""libpq's file of roots: the same trust as the context's, there as long as it is wanted."""

from __future__ import annotations

import gc
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from rds_iam_async import ConfigurationError
from rds_iam_async._root_file import make_root_file
from rds_iam_async._tls import make_context


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def roots_in(path: str) -> set[bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=path)
    return set(context.get_ca_certs(binary_form=True))


def test_it_holds_the_systems_roots_and_those_of_the_ca_file(ca_file: str) -> None:
    """As the context does: RDS Proxy has public roots, RDS and Aurora have AWS's own."""
    made = roots_in(make_root_file(ca_file))
    assert roots_in(ca_file) < made
    # The context loads a directory of roots only when it looks for one.
    assert set(make_context(ca_file).get_ca_certs(binary_form=True)) <= made
    system = ssl.get_default_verify_paths()
    assert len(made) > 1 or not (system.cafile or system.capath)


def test_no_root_is_there_twice(
    ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq parses each for each connection, and most systems have a file and a directory."""
    roots = tmp_path / "directory"
    roots.mkdir()
    known, other = trustme.CA(), trustme.CA()
    file = tmp_path / "roots.pem"
    known.cert_pem.write_to_path(str(file))
    (roots / "0123abcd.0").write_bytes(
        b"a comment\n" + known.cert_pem.bytes().replace(b"\n", b"\r\n")
    )
    (roots / "4567cdef.0").write_bytes(other.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(roots))
    made = make_root_file(ca_file)
    assert Path(made).read_bytes().count(b"BEGIN CERTIFICATE") == 3
    for root in (ca_file, str(file), str(roots / "4567cdef.0")):
        assert roots_in(root) < roots_in(made)


def test_it_is_gone_with_its_owner_and_not_before(ca_file: str) -> None:
    """On Linux it is in memory: what lies in /tmp gets cleaned up on long-lived machines."""
    path = make_root_file(ca_file)
    name = str(path)
    del path
    gc.collect()
    assert not os.path.exists(name)


def test_where_there_is_no_memory_file_it_is_a_private_one_on_disk(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS, say."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    path = make_root_file(ca_file)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert roots_in(ca_file) < roots_in(path)
    name = str(path)
    del path
    gc.collect()
    assert not os.path.exists(name)


def test_a_memory_file_that_is_refused_is_one_on_disk(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By seccomp, or by an administrator (vm.memfd_noexec)."""

    def refused(name: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    assert roots_in(ca_file) < roots_in(make_root_file(ca_file))


def test_a_descriptor_that_is_another_files_by_now_is_left_alone(
    ca_file: str, tmp_path: Path
) -> None:
    """A daemon closes all that it has inherited; numbers are given anew."""
    path = make_root_file(ca_file)
    descriptor = int(path.rpartition("/")[2])
    with open(tmp_path / "another", "w") as another:
        os.dup2(another.fileno(), descriptor)
        del path
        gc.collect()
        os.write(descriptor, b"mine")
        os.close(descriptor)
    assert (tmp_path / "another").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here")
def test_a_forked_child_leaves_its_parents_file_alone(ca_file: str) -> None:
    """Its own exit must not take away what the parent verifies with."""
    program = (
        "import os, sys\n"
        "del os.memfd_create\n"
        "from rds_iam_async._root_file import make_root_file\n"
        "path = make_root_file(sys.argv[1])\n"
        "if os.fork() == 0:\n"
        "    sys.exit()\n"
        "os.wait()\n"
        "print(os.path.exists(path))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, ca_file], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_file_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    """As it is for a context."""
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match="does not parse"):
        make_root_file(str(broken))


def test_no_roots_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty file would verify nothing, and libpq's message would not say why."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(empty))
    monkeypatch.setenv("SSL_CERT_FILE", str(empty / "none.pem"))
    with pytest.raises(ConfigurationError, match="no roots"):
        make_root_file(None)
