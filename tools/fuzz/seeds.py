"""Sound inputs of every kind, made on the spot: small, so that a change hits something that matters."""

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import loadmat, savemat

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import rate
from mmer_core.datasets.synthetic.shares import generator
from mmer_core.store import ArtifactKey, Draft, open_store
from tools.fuzz import by_kind
from tools.fuzz.mutations import Seal, seal_png, seal_tar, seal_tgz


@dataclass(frozen=True)
class Seed:
    """A folder's files, of which one is spoilt: ``target``, or any of those below it where it is a folder."""

    files: dict[str, bytes]
    target: str
    seal: Seal | None = None

    @property
    def targets(self) -> list[str]:
        return [
            name for name in sorted(self.files) if name == self.target or name.startswith(f"{self.target}/")
        ]


def png(side: int = 8) -> bytes:
    return _saved(Image.linear_gradient("L").resize((side, side)).convert("RGB"), "PNG")


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def images() -> Iterator[Seed]:
    colour = Image.merge(
        "RGB", [Image.linear_gradient("L").rotate(90 * n).resize((40, 30)) for n in range(3)]
    )
    gray = colour.convert("L")
    wide = Image.fromarray(np.asarray(gray, np.uint16) * 257)
    real = Image.fromarray(np.asarray(gray, np.float32) / 255)
    exif = Image.Exif()
    exif[274] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "JPEG", {"exif": exif}),
        (colour, "JPEG", {"progressive": True}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (gray.convert("1"), "PNG", {}),
        (wide, "PNG", {}),
        (colour.convert("P"), "GIF", {"save_all": True, "append_images": [colour.convert("P")]}),
        (colour, "BMP", {}),
        (colour, "WEBP", {"quality": 40}),
        (colour, "WEBP", {"lossless": True}),
        (colour, "TIFF", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (wide, "TIFF", {}),
        (real, "TIFF", {}),
    ]
    for image, kind, options in kinds:
        yield Seed({"photo": _saved(image, kind, **options)}, "photo", seal_png if kind == "PNG" else None)
    # What no dataset has, and Pillow would read: it must be left alone.
    for kind in ("PPM", "ICO", "EPS", "PDF", "TGA", "PCX", "JPEG2000", "AVIF", "DDS", "SGI"):
        try:
            yield Seed({"photo": _saved(colour, kind)}, "photo")
        except (KeyError, OSError):  # not in this build
            continue


def archives() -> Iterator[Seed]:
    contents = {"a.txt": b"abc" * 100, "photos/b.png": png(), "c" * 120 + ".txt": b"c"}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as zipped:
            for name, content in contents.items():
                zipped.writestr(name, content)
        yield Seed({"archive.zip": file.getvalue()}, "archive.zip")
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tarred:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tarred.addfile(info, io.BytesIO(content))
        yield Seed({"archive.tar": file.getvalue()}, "archive.tar", seal_tar)
        yield Seed({"archive.tgz": file.getvalue()}, "archive.tgz", seal_tgz)


def annotations() -> Iterator[Seed]:
    random = generator(SyntheticConfig(), "fuzz", 0)
    splits = {}
    for split, annotators in (("train", 1), ("val", 2), ("test", 2)):
        ratings = [rate(frozenset(), random) for _ in range(annotators)]
        person = Person((1, 2, 30, 40), "Male", "Adult", frozenset(), ratings)
        splits[split] = [Photo("mscoco/images", f"{split}.jpg", (64, 48), [person])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Annotations.mat"
        write_annotations(path, splits)
        yield Seed({path.name: path.read_bytes()}, path.name)
        content = {name: value for name, value in loadmat(path).items() if not name.startswith("_")}
        savemat(path, content)
        yield Seed({path.name: path.read_bytes()}, path.name)


_PHOTOS = [f"{number}.jpg" for number in range(6)]


def flickr() -> Iterator[Seed]:
    photos = {f"Images/{name}": png() for name in _PHOTOS}
    lists = {
        f"Flickr_8k.{split}Images.txt": "\n".join(_PHOTOS[2 * place : 2 * place + 2]).encode() + b"\n"
        for place, split in enumerate(("train", "dev", "test"))
    }
    kaggle = "image,caption\n" + "".join(f'{name},"A dog, and ""snow"""\n' for name in _PHOTOS)
    token = "".join(f"{name}#{n}\tA dog in the snow\n" for name in _PHOTOS for n in range(2))
    karpathy = {
        "images": [
            {"filename": name, "split": split, "sentences": [{"raw": "A dog ."}, {"raw": "Snow ."}]}
            for name, split in zip(_PHOTOS, ("train", "train", "val", "val", "test", "test"), strict=True)
        ]
    }
    for name, text in (
        ("captions.txt", kaggle),
        ("Flickr8k.token.txt", token),
        ("dataset_flickr8k.json", json.dumps(karpathy)),
    ):
        yield Seed(photos | lists | {name: text.encode()}, name)
    yield Seed(photos | lists | {"captions.txt": kaggle.encode()}, "Flickr_8k.trainImages.txt")


def sidecars() -> Iterator[Seed]:
    rows = [
        "mscoco/images,1.jpg,A dog,0",
        'mscoco/images,1.jpg,"A dog, ""and"" a\nball",',
        "framesdb/images,2.jpg,Snow,",
    ]
    yield Seed(
        {"captions.csv": "\n".join(["folder,filename,caption,person", *rows, ""]).encode()}, "captions.csv"
    )


def coco() -> Iterator[Seed]:
    rows = [{"image_id": number, "id": number, "caption": "A dog."} for number in range(5)]
    content = json.dumps({"info": {}, "images": [], "annotations": rows})
    yield Seed({"captions.json": content.encode()}, "captions.json")


def manifests() -> Iterator[Seed]:
    photos = {f"images/{name}": png() for name in _PHOTOS}
    declared = '{"labels": ["wet", "sunny"], "multi_label": true}'
    splits = ("train", "train", "train", "val", "val", "test")
    rows = [
        {"id": f"00{number}", "split": split, "image": f"images/{name}", "text": "Rain, and sun", "labels": ["wet", "sunny"]}
        | {"valence": 1.5, "arousal": 2.0, "dominance": 3.0, "x1": 0, "y1": 0, "x2": 4, "y2": 4, "note": "NA"}
        for number, (name, split) in enumerate(zip(_PHOTOS, splits, strict=True))
    ]  # fmt: skip
    header = ",".join(rows[0])
    cells = [[";".join(v) if isinstance(v, list) else str(v) for v in row.values()] for row in rows]
    csv = "\n".join([f"# {declared}", header, *(",".join(f'"{c}"' for c in row) for row in cells), ""])
    yield Seed(photos | {"manifest.csv": csv.encode()}, "manifest.csv")
    lines = "\n".join([f"# {declared}", *map(json.dumps, rows), ""])
    yield Seed(photos | {"manifest.jsonl": lines.encode()}, "manifest.jsonl")
    sidecar = {"manifest.csv": csv.partition("\n")[2].encode(), "manifest.csv.labels.json": declared.encode()}
    yield Seed(photos | sidecar, "manifest.csv.labels.json")
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"mmer": declared})
    for options in (
        {"compression": "none"},
        {"compression": "zstd"},
        {"use_dictionary": False, "compression": "none"},
    ):
        file = io.BytesIO()
        pq.write_table(table, file, **options)
        yield Seed(photos | {"manifest.parquet": file.getvalue()}, "manifest.parquet")


def configurations() -> Iterator[Seed]:
    toml = '[training]\nepochs = 3\n[datasets.mine]\ndataset = "flickr8k"\nsplits = "karpathy"\n[report]\ntitle = "a"\n'
    fields = {"training": {"epochs": 3}, "datasets": {"mine": {"dataset": "flickr8k"}}, "families": ["joint"]}
    yaml = "training: &t\n  epochs: 3\nother: *t\nfamilies: [joint, separate]\nreport: {title: 'a b'}\n"
    for suffix, text in (("toml", toml), ("json", json.dumps(fields, indent=1)), ("yaml", yaml)):
        yield Seed({f"config.{suffix}": text.encode()}, f"config.{suffix}")


def photo_lists() -> Iterator[Seed]:
    text = 'photo,x1,y1,x2,y2,text\na.jpg,0,0,10,10,"A dog, and"\nb.jpg,,,,,\nc.jpg,1.5,2,3,4,Snow\n'
    yield Seed({"list.csv": text.encode()}, "list.csv")


def queries() -> Iterator[Seed]:
    yield Seed({"q.csv": b'text,image,id\n"a dog, and",,\n,photo.jpg,\n,,003\n'}, "q.csv")
    yield Seed({"q.jsonl": b'{"text": "a dog"}\n{"id": "003"}\n\n{"image": "a.jpg"}\n'}, "q.jsonl")
    yield Seed({"q.txt": "a dog\n\nzwei Hunde\n".encode("utf-8-sig")}, "q.txt")


KEY = ArtifactKey("index", "0123abcd")


def artifacts() -> Iterator[Seed]:
    """A store; beside it lies what its artifact holds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "expected" / "deep").mkdir(parents=True)
        for name, content in (("image.faiss", bytes(500)), ("search.json", b"{}"), ("deep/a.parquet", png())):
            (folder / "expected" / name).write_bytes(content)
        store = open_store(str(folder / "store"), folder / "cache")
        store.publish(folder / "expected", Draft(kind=KEY.kind, digest=KEY.digest))
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        kept = {name: path.read_bytes() for name, path in files.items() if not name.startswith("cache")}
    yield Seed(kept, "store")


def requests() -> Iterator[Seed]:
    head = "Host: localhost\r\nConnection: close\r\n"
    body = json.dumps({"text": "a dog", "k": 3, "target": "text", "split": ["train"]})
    posts = [
        ("/api/search", "application/json", body.encode()),
        ("/api/search", "application/json", json.dumps({"vector": [0.1] * 16}).encode()),
        ("/api/search", "image/png", png()),
    ]
    for path in (
        "/",
        "/api/search?text=dog&k=3",
        "/api/search?id=photo%2001&split=train",
        "/metrics",
        "/api/index",
    ):
        yield Seed({"request": f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()}, "request")
    for path, kind, content in posts:
        start = (
            f"POST {path} HTTP/1.1\r\n{head}Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        yield Seed({"request": start.encode() + content}, "request")


SEEDS: dict[str, Callable[[], Iterator[Seed]]] = by_kind(globals())
