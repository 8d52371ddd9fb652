import hashlib
import io

import pytest

from slimtable.data.download import download
from slimtable.errors import DatasetError, DatasetNotFoundError

BODY = bytes(range(256)) * 4_000  # about 1 MB: several blocks
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture
def url(server):
    server.files["big.bin"] = BODY
    return f"{server.url}/big.bin"


@pytest.mark.parametrize("checksum", [SHA256, SHA256.upper().replace("SHA256", "sha256"), MD5, None])
def test_a_file_arrives_whole(url, tmp_path, checksum):
    path = tmp_path / "deep" / "folder" / "big.bin"
    assert download(url, path, checksum=checksum) == path
    assert path.read_bytes() == BODY
    assert [file.name for file in path.parent.iterdir()] == ["big.bin"]


def test_a_broken_connection_is_resumed_within_one_call(url, server, tmp_path):
    server.cut_after = [300_000, 100]
    download(url, tmp_path / "big.bin", checksum=SHA256)
    assert (tmp_path / "big.bin").read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=300100-"]


def test_what_has_arrived_is_continued_by_the_next_call(url, server, tmp_path):
    server.cut_after = [10, 20, 30]
    with pytest.raises(DatasetError, match=r"broke off after 60 of 1,024,000 bytes.*again to continue"):
        download(url, tmp_path / "big.bin", checksum=SHA256)
    assert (tmp_path / "big.bin.part").read_bytes() == BODY[:60]
    assert not (tmp_path / "big.bin").exists()
    download(url, tmp_path / "big.bin", checksum=SHA256)
    assert server.ranges[-1] == "bytes=60-"
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_part_that_is_whole_is_only_checked(url, server, tmp_path):
    (tmp_path / "big.bin.part").write_bytes(BODY)
    download(url, tmp_path / "big.bin", checksum=SHA256)
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_part_that_is_too_long_is_started_anew(url, server, tmp_path):
    (tmp_path / "big.bin.part").write_bytes(BODY + b"x")
    download(url, tmp_path / "big.bin", checksum=SHA256)
    assert server.ranges == [f"bytes={len(BODY) + 1}-", None]
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(url, server, tmp_path):
    server.ignore_ranges = True
    (tmp_path / "big.bin.part").write_bytes(BODY[:1000])
    download(url, tmp_path / "big.bin", checksum=SHA256)
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_part_of_an_unchecked_file_is_never_trusted(url, server, tmp_path):
    (tmp_path / "big.bin.part").write_bytes(b"of an older version")
    download(url, tmp_path / "big.bin")
    assert server.ranges == [None]
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_wrong_bytes_are_deleted(url, tmp_path):
    with pytest.raises(DatasetError, match=r"sha256 checksum.*instead of 00"):
        download(url, tmp_path / "big.bin", checksum="sha256:" + "00" * 32)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_failed_download(url, tmp_path):
    (tmp_path / "big.bin").write_bytes(b"old")
    with pytest.raises(DatasetError):
        download(url, tmp_path / "big.bin", checksum="md5:0")
    assert (tmp_path / "big.bin").read_bytes() == b"old"


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    with pytest.raises(DatasetNotFoundError, match="HTTP 404"):
        download(f"{server.url}/nothing", tmp_path / "x")
    assert len(server.ranges) == 1


def test_a_failing_server_is_named(url, server, tmp_path):
    server.status = 503
    with pytest.raises(DatasetError, match="HTTP 503"):
        download(url, tmp_path / "x")
    assert len(server.ranges) == 3


def test_an_unreachable_server_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot download http://127\.0\.0\.1:1/x"):
        download("http://127.0.0.1:1/x", tmp_path / "x")


def test_a_folder_that_cannot_be_made_is_named(url, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot make the folder"):
        download(url, tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("url", "checksum", "message"),
    [("file:///etc/passwd", None, "http or https"), ("http://x/y", "crc32:00", "sha256: or md5:")],
)
def test_bad_arguments_are_refused(tmp_path, url, checksum, message):
    with pytest.raises(ValueError, match=message):
        download(url, tmp_path / "x", checksum=checksum)


def test_progress_is_shown_only_where_asked(url, tmp_path, monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    download(url, tmp_path / "a")
    assert stderr.getvalue() == ""
    download(url, tmp_path / "b", quiet=False)
    assert "big.bin" in stderr.getvalue()
