"""What the tests of the store share."""

from pathlib import Path

from mmer_core.store import ArtifactKey, Draft
from support.s3_server import S3Server, client_of

KEY = ArtifactKey("features", "0123abcd")
FILES = {"a.npy": b"\x00\x01" * 3000, "deep/er/b.json": b"{}", "empty.txt": b""}


def folder_with(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def draft(key: ArtifactKey = KEY, **fields: object) -> Draft:
    return Draft(kind=key.kind, digest=key.digest, **fields)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class RawStore:
    """The stored bytes behind mmer's back, on disk or in the bucket."""

    def __init__(self, url: str, server: S3Server | None) -> None:
        self._url = url
        self._server = server
        self._client = client_of(server) if server else None

    def names(self) -> list[str]:
        if self._server is None:
            root = Path(self._url)
            return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        pages = self._client.get_paginator("list_objects_v2").paginate(**self._where(""))
        return sorted(
            entry["Key"].removeprefix(self._prefix()) for page in pages for entry in page.get("Contents", ())
        )

    def read(self, name: str) -> bytes:
        if self._server is None:
            return (Path(self._url) / name).read_bytes()
        return self._client.get_object(**self._object(name))["Body"].read()

    def write(self, name: str, data: bytes) -> None:
        if self._server is None:
            path = Path(self._url) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                path.chmod(0o644)
            path.write_bytes(data)
        else:
            self._client.put_object(**self._object(name), Body=data)

    def remove(self, name: str) -> None:
        if self._server is None:
            (Path(self._url) / name).unlink()
        else:
            self._client.delete_object(**self._object(name))

    def _prefix(self) -> str:
        return self._url.removeprefix("s3://").partition("/")[2] + "/"

    def _where(self, name: str) -> dict[str, str]:
        return {"Bucket": self._server.bucket, "Prefix": self._prefix() + name}

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._server.bucket, "Key": self._prefix() + name}
