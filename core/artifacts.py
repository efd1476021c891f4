"""Immutable artifacts (models, reports) under the hash of their content: what comes back is what was stored.

An artifact is a small set of named files. It is stored as one object: a manifest (names, sizes, SHA-256 of each file;
JSON with sorted keys) followed by the files' bytes in the manifest's order. Its address is the SHA-256 of the manifest,
so equal content always has the same address, and no byte can change without the address failing to match. Nothing is
ever unpickled: artifacts hold safetensors, Arrow and JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ArtifactCorrupt, InvalidInput, NotFound, StorageBroken

MAGIC = b"ABOT1\n"
_LENGTH = 8
_ADDRESS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Artifacts below a local folder, or below any URL that pyarrow's filesystems understand (s3://, gs://, hdfs://).

    Travels to other processes as its URL. A local write is flushed to disk under a temporary name and renamed, so a
    reader never sees half an artifact and an acknowledged one survives loss of power.
    """

    url: str

    def put(self, files: dict[str, bytes]) -> str:
        """Store files and return their address; storing the same content again changes nothing.

        Raises InvalidInput for an empty set or a name with a path in it, StorageBroken when the store refuses.
        """
        manifest = _manifest(files)
        address = hashlib.sha256(manifest).hexdigest()
        if not self._intact(address):
            body = b"".join(files[name] for name in sorted(files))
            self._write(address, MAGIC + len(manifest).to_bytes(_LENGTH, "big") + manifest + body)
        return address

    def get(self, address: str) -> dict[str, bytes]:
        """The files of an artifact, every byte verified; NotFound, ArtifactCorrupt, StorageBroken."""
        return _unpack(address, self._read(address))

    def exists(self, address: str) -> bool:
        """Whether something is stored under an address (`get` says whether it is whole)."""
        return self.size(address) is not None

    def size(self, address: str) -> int | None:
        """Bytes that an artifact takes in the store; None: there is none."""
        path = self._path(address)
        with _storage(self.url):
            if self._local:
                return Path(path).stat().st_size if Path(path).is_file() else None
            from pyarrow.fs import FileType

            system, root = self._remote()
            info = system.get_file_info(f"{root}/{path}")
            return int(info.size) if info.type == FileType.File else None

    def delete(self, address: str) -> int:
        """Remove an artifact for good and return the bytes that it took; 0 where there is none (any more).

        Whether somebody still needs it is the caller's question. Raises StorageBroken when the store refuses.
        """
        freed = self.size(address)
        if freed is None:
            return 0
        path = self._path(address)
        with _storage(self.url):
            if self._local:
                Path(path).unlink(missing_ok=True)
                _sync(Path(path).parent)
            else:
                system, root = self._remote()
                system.delete_file(f"{root}/{path}")
        return freed

    def _intact(self, address: str) -> bool:
        try:
            self.get(address)
        except (NotFound, ArtifactCorrupt):
            return False
        return True

    @property
    def _local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    def _path(self, address: str) -> str:
        if not _ADDRESS.fullmatch(address):
            raise InvalidInput(f"{address!r} is not an artifact's address (64 hexadecimal digits)", field="sha256")
        tail = f"{address[:2]}/{address}"
        return f"{self.url.removeprefix('file://')}/{tail}" if self._local else tail

    def _remote(self) -> tuple[Any, str]:
        from pyarrow.fs import FileSystem

        system, root = FileSystem.from_uri(self.url)
        return system, root.rstrip("/")

    def _read(self, address: str) -> bytes:
        path = self._path(address)
        missing = NotFound(f"no artifact {address} in {self.url}", artifact=address)
        with _storage(self.url):
            if self._local:
                try:
                    return Path(path).read_bytes()
                except FileNotFoundError:
                    raise missing from None
            system, root = self._remote()
            try:
                with system.open_input_stream(f"{root}/{path}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                raise missing from None

    def _write(self, address: str, blob: bytes) -> None:
        path = self._path(address)
        with _storage(self.url):
            if self._local:
                _write_local(Path(path), blob)
                return
            system, root = self._remote()
            target = f"{root}/{path}"
            temporary = f"{target}.{secrets.token_hex(8)}.tmp"
            system.create_dir(target.rsplit("/", 1)[0], recursive=True)
            with system.open_output_stream(temporary) as stream:
                stream.write(blob)
            system.move(temporary, target)


def _manifest(files: dict[str, bytes]) -> bytes:
    if not files:
        raise InvalidInput("an artifact needs at least one file", field="files")
    for name in files:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise InvalidInput(f"{name!r} is not a plain file name", field="files")
    listed = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()


def _unpack(address: str, blob: bytes) -> dict[str, bytes]:
    start = len(MAGIC) + _LENGTH
    size = int.from_bytes(blob[len(MAGIC) : start], "big")
    manifest = blob[start : start + size]
    if blob[: len(MAGIC)] != MAGIC or hashlib.sha256(manifest).hexdigest() != address:
        raise ArtifactCorrupt(f"artifact {address} is damaged: its manifest does not match its name", artifact=address)
    files, at = {}, start + size
    for name, entry in json.loads(manifest).items():
        data = blob[at : at + entry["bytes"]]
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ArtifactCorrupt(f"artifact {address} is damaged: {name} does not match its hash", artifact=address)
        files[name] = data
        at += entry["bytes"]
    if at != len(blob):
        raise ArtifactCorrupt(f"artifact {address} is damaged: {len(blob) - at} bytes too many", artifact=address)
    return files


def _write_local(path: Path, blob: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(blob)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _storage(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageBroken(f"the artifact store {url} does not answer: {error}", artifacts=url) from error
