"""Writers that are killed and writers that race with readers: only whole files are ever seen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from slimtable.artifact import verify_artifact, write_artifact
from tests.artifact.artifact_samples import dense

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.artifact.artifact_samples import dense
from slimtable.artifact import write_artifact
tables = [{"t": dense(300_000, 8)}, {"t": dense(500, 3)}]
print("ready", flush=True)
while True:
    for table in tables:
        write_artifact(sys.argv[1], table)
"""


def start_writer(path):
    root = str(Path(__file__).parents[2])
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), root], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    return writer


def stop(writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()


def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "a.safetensors"
    whole = 0
    for attempt in range(6):
        writer = start_writer(path)
        time.sleep(0.003 * attempt**2)
        stop(writer)
        assert not [file for file in tmp_path.iterdir() if file != path and not file.name.endswith(".partial")]
        if path.exists():
            assert verify_artifact(path).tables["t"].num_embeddings in (300_000, 500)
            whole += 1
    assert whole
    write_artifact(path, {"t": dense()})  # what a killed writer left behind is in nobody's way
    assert verify_artifact(path).tables["t"].num_embeddings == 7


def test_readers_see_whole_files_while_a_writer_replaces_them(tmp_path):
    path = tmp_path / "a.safetensors"
    write_artifact(path, {"t": dense(500, 3)})
    writer = start_writer(path)
    try:
        seen = {verify_artifact(path).tables["t"].num_embeddings for _ in range(60)}
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            seen.add(verify_artifact(path).tables["t"].num_embeddings)
    finally:
        stop(writer)
    assert seen == {300_000, 500}


def test_forked_readers_share_the_mapping(tmp_path):
    path = tmp_path / "a.safetensors"
    write_artifact(path, {"t": dense(500, 3)})
    table = verify_artifact(path).tables["t"].arrays["table"]
    expected = float(table.sum(dtype=np.float64))
    child = os.fork()
    if child == 0:
        os._exit(0 if float(table.sum(dtype=np.float64)) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
