"""What an artifact was made from, step by step back to the raw data, as a tree and as a graph."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from mmer_core.errors import ArtifactNotFound, StoreError
from mmer_core.escaping import for_dot, for_mermaid, one_line
from mmer_core.store.artifact import ArtifactKey
from mmer_core.store.lineage_svg import lineage_svg
from mmer_core.store.manifest import Manifest
from mmer_core.store.store import Store

_READERS = 8  # manifests read at the same time
_NAME = 22  # letters of raw data's name in a picture
_SHOWN = 3  # inputs of one kind, such as the shards of a merge; more are counted


@dataclass(frozen=True)
class Ancestry:
    """An artifact and all that it was made from.

    Attributes:
        root: Key of the artifact, as text.
        manifests: By key, for all that the store still has.
    """

    root: str
    manifests: dict[str, Manifest]

    @classmethod
    def of(cls, store: Store, key: ArtifactKey) -> "Ancestry":
        """Read the manifests of an artifact, of its inputs, of theirs, and so on.

        Raises:
            ArtifactNotFound: The artifact itself is not there; an input that is not is shown so.
            ArtifactCorrupt: A manifest is damaged.
        """
        manifests = {str(key): store.manifest(key)}
        newest, missing = [str(key)], set[str]()
        with ThreadPoolExecutor(_READERS) as pool:
            while newest:
                wanted = {name for made in newest for name in manifests[made].sources.values()}
                asked = sorted(wanted - manifests.keys() - missing)
                found = dict(zip(asked, pool.map(partial(_manifest_or_none, store), asked), strict=True))
                missing |= {name for name, manifest in found.items() if manifest is None}
                newest = [name for name in asked if name not in missing]
                manifests |= {name: manifest for name, manifest in found.items() if manifest}
        return cls(str(key), manifests)

    def tree(self) -> str:
        """Lines of text, one an input; what was shown before is not unfolded again."""
        return "\n".join(map(one_line, [self._line(self.root), *self._branches(self.root, "", set())]))

    def mermaid(self) -> str:
        """The graph for Mermaid, which GitHub and GitLab draw; arrows go from what was used to what was made."""
        names = {name: f"n{number}" for number, name in enumerate(self._nodes())}
        nodes = [f'  {short}["{for_mermaid(_label(name))}"]' for name, short in names.items()]
        edges = [
            f'  {names[source]} -->|"{for_mermaid(role)}"| {names[made]}'
            for source, role, made in self._edges()
        ]
        return "\n".join(["graph LR", *nodes, *edges])

    def dot(self) -> str:
        """The graph for Graphviz."""
        nodes = [
            f'  "{for_dot(name)}" [shape=box, label="{for_dot(_label(name))}"];' for name in self._nodes()
        ]
        edges = [
            f'  "{for_dot(source)}" -> "{for_dot(made)}" [label="{for_dot(role)}"];'
            for source, role, made in self._edges()
        ]
        return "\n".join(["digraph lineage {", "  rankdir=LR;", *nodes, *edges, "}"])

    def svg(self) -> str:
        """The graph as a picture, with the shards of a merge in one box."""
        captions: dict[str, tuple[str, str]] = {}
        edges: list[tuple[str, str]] = []
        waiting = [(self.root, [self.root])]
        while waiting:
            made, members = waiting.pop()
            captions[made] = self._caption(members)
            for source, inside in self._boxes(members).items():
                edges.append((source, made))
                if source not in captions:
                    waiting.append((source, inside))
        return lineage_svg(captions, edges)

    def _boxes(self, members: list[str]) -> dict[str, list[str]]:
        """What artifacts were made from: shards together, all else in a box of its own."""
        boxes: dict[str, list[str]] = {}
        for made in members:
            for role, source in (self.manifests[made].sources if made in self.manifests else {}).items():
                kind = source.partition("/")[0]
                boxes.setdefault(f"{kind} of {made}" if _is_numbered(role) else source, []).append(source)
        return {name: list(dict.fromkeys(inside)) for name, inside in boxes.items()}

    def _caption(self, members: list[str]) -> tuple[str, str]:
        """What a box says: the kind, and which one or how many, and when it was made."""
        name = members[0]
        kind, slash, digest = name.partition("/")
        if not slash:
            return "raw data", name if len(name) <= _NAME else name[: _NAME - 1] + "…"
        made = self.manifests.get(name)
        which = digest[:8] if len(members) == 1 else f"× {len(members)}"
        return kind, f"{which}, {made.created[:10] if made else 'deleted'}"

    def _line(self, name: str) -> str:
        manifest = self.manifests.get(name)
        if manifest is None:
            return f"{name} (not in the store)"
        return (
            f"{name} ({manifest.created[:19]}, {manifest.wall_seconds:.1f} s, mmer {manifest.code_version})"
        )

    def _branches(self, name: str, indent: str, seen: set[str]) -> Iterator[str]:
        seen.add(name)
        inputs, left_out = self._inputs(name)
        lines = [*inputs, *((f"{count} more", kind) for kind, count in left_out.items())]
        for position, (role, source) in enumerate(lines):
            last = position == len(lines) - 1
            corner, below = ("└── ", "    ") if last else ("├── ", "│   ")
            if position >= len(inputs):
                yield f"{indent}{corner}{role} of kind {source}"
            elif source in seen and self.manifests.get(source):
                yield f"{indent}{corner}{role}: {source} (see above)"
            else:
                yield f"{indent}{corner}{role}: {self._line(source)}"
                yield from self._branches(source, indent + below, seen)

    def _inputs(self, name: str) -> tuple[list[tuple[str, str]], Counter[str]]:
        """The (role, key) of the inputs to show, and how many of each kind are not."""
        manifest = self.manifests.get(name)
        shown: list[tuple[str, str]] = []
        kinds, left_out = Counter[str](), Counter[str]()
        for role, source in (manifest.sources if manifest else {}).items():
            # Only what comes by number is alike enough to leave some out: shard0000, shard0001, ...
            kind = source.partition("/")[0] if _is_numbered(role) else source
            kinds[kind] += 1
            if kinds[kind] <= _SHOWN:
                shown.append((role, source))
            else:
                left_out[kind] += 1
        return shown, left_out

    def _edges(self) -> list[tuple[str, str, str]]:
        """(what was used, its role, what was made), without the shards that the tree leaves out."""
        reached, edges, waiting = {self.root}, [], [self.root]
        while waiting:
            made = waiting.pop()
            inputs, left_out = self._inputs(made)
            inputs += [(f"{count} more", f"{kind} of {made}") for kind, count in left_out.items()]
            for role, source in inputs:
                edges.append((source, role, made))
                if source not in reached:
                    reached.add(source)
                    waiting.append(source)
        return edges

    def _nodes(self) -> list[str]:
        return list(dict.fromkeys([self.root, *(source for source, _, _ in self._edges())]))


def _is_numbered(role: str) -> bool:
    """Whether an input is one of many, such as shard0003."""
    return role[-1:].isdigit()


def _manifest_or_none(store: Store, name: str) -> Manifest | None:
    """None for raw data, which has no artifact, and for what was deleted."""
    try:
        key = ArtifactKey.parse(name)
    except StoreError:
        return None
    try:
        return store.manifest(key)
    except ArtifactNotFound:
        return None


def _label(name: str) -> str:
    kind, slash, digest = name.partition("/")
    return f"{kind} {digest[:8]}" if slash and " " not in digest else kind
