from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt, InvalidInput, NotFound, StorageBroken

FILES = {"weights.safetensors": b"\x00\x01" * 500, "model.json": b"{}"}


@pytest.fixture(params=["folder", "file url", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """An object store's code path runs against pyarrow's local filesystem, which has the same interface."""
    if request.param == "folder":
        return ArtifactStore(str(tmp_path / "a"))
    if request.param == "file url":
        return ArtifactStore(f"file://{tmp_path / 'a'}")
    from pyarrow import fs

    def from_uri(url: str) -> tuple[Any, str]:
        return fs.LocalFileSystem(), str(tmp_path / url.removeprefix("s3://"))

    monkeypatch.setattr(fs, "FileSystem", type("FileSystem", (), {"from_uri": staticmethod(from_uri)}))
    return ArtifactStore("s3://bucket/a")


def stored(root: Path, address: str) -> Path:
    return next(root.rglob(address))


def test_what_was_put_comes_back(store: ArtifactStore) -> None:
    address = store.put(FILES)
    assert store.get(address) == FILES
    assert store.exists(address)


def test_the_address_depends_on_content_alone(store: ArtifactStore) -> None:
    address = store.put(FILES)
    assert store.put(dict(reversed(FILES.items()))) == address
    assert store.put(FILES | {"model.json": b"[]"}) != address


def test_every_changed_byte_is_noticed(store: ArtifactStore, tmp_path: Path) -> None:
    address = store.put(FILES)
    path = stored(tmp_path, address)
    blob = path.read_bytes()
    for at in (0, 8, 30, len(blob) // 2, len(blob) - 1):
        path.write_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        with pytest.raises(ArtifactCorrupt):
            store.get(address)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b[:10]])
def test_a_cut_or_lengthened_artifact_is_refused(store: ArtifactStore, tmp_path: Path, damage: Any) -> None:
    address = store.put(FILES)
    path = stored(tmp_path, address)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactCorrupt):
        store.get(address)


def test_putting_again_repairs_a_damaged_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    address = store.put(FILES)
    stored(tmp_path, address).write_bytes(b"lost")
    assert store.put(FILES) == address
    assert store.get(address) == FILES


def test_one_artifact_under_another_name_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    one, two = store.put(FILES), store.put({"model.json": b"other"})
    stored(tmp_path, one).write_bytes(stored(tmp_path, two).read_bytes())
    with pytest.raises(ArtifactCorrupt):
        store.get(one)


def test_an_unknown_address_is_not_found(store: ArtifactStore) -> None:
    assert not store.exists("0" * 64)
    with pytest.raises(NotFound):
        store.get("0" * 64)


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_an_address_that_is_none_is_invalid(store: ArtifactStore, address: str) -> None:
    with pytest.raises(InvalidInput):
        store.get(address)


@pytest.mark.parametrize("files", [{}, {"../x": b""}, {"a/b": b""}, {".hidden": b""}, {"": b""}])
def test_names_with_paths_are_refused(store: ArtifactStore, files: dict[str, bytes]) -> None:
    with pytest.raises(InvalidInput):
        store.put(files)


def test_no_temporary_file_is_left(store: ArtifactStore, tmp_path: Path) -> None:
    store.put(FILES)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageBroken, match="file"):
        ArtifactStore(str(tmp_path / "file")).put(FILES)


def test_the_store_travels_to_other_processes(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    address = store.put(FILES)
    assert pickle.loads(pickle.dumps(store)).get(address) == FILES


def test_a_deleted_artifact_is_gone_and_its_bytes_are_told_once(store: ArtifactStore, tmp_path: Path) -> None:
    address, other = store.put(FILES), store.put({"model.json": b"other"})
    size = stored(tmp_path, address).stat().st_size
    assert store.size(address) == size
    assert [store.delete(address), store.delete(address)] == [size, 0]
    assert (store.exists(address), store.size(address), store.exists(other)) == (False, None, True)
    with pytest.raises(NotFound):
        store.get(address)
    assert store.get(store.put(FILES)) == FILES
