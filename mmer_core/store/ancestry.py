"""The ancestry of an artifact, back to the raw data, as a tree and as a graph."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter

from mmer_core.errors import ArtifactCorrupt, ArtifactNotFound, StoreError
from mmer_core.escaping import for_dot, for_mermaid, one_line
from mmer_core.store.artifact import ArtifactKey
from mmer_core.store.lineage_svg import lineage_svg
from mmer_core.store.manifest import Manifest
from mmer_core.store.store import Store

_READERS = 8  # manifests read in parallel
_NAME = 22  # characters of a raw dataset's name in a picture
_LISTED = 6  # artifacts that an error names
_SHOWN = 3  # inputs of one kind to show, such as the shards of a merge; the others are only counted


@dataclass(frozen=True)
class Ancestry:
    """An artifact and all of its direct and indirect inputs.

    Attributes:
        root: Key of the artifact, as text.
        manifests: Manifests by key, of all artifacts that the store still has.
    """

    root: str
    manifests: dict[str, Manifest]

    @classmethod
    def of(cls, store: Store, key: ArtifactKey) -> "Ancestry":
        """Read the manifests of an artifact, its inputs, their inputs, and so on.

        Raises:
            ArtifactNotFound: The artifact itself does not exist; missing inputs are shown as such.
            ArtifactCorrupt: A manifest is damaged, or an artifact is its own ancestor.
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
        _check_order(manifests)
        return cls(str(key), manifests)

    def tree(self) -> str:
        """Lines of text, one per input; an artifact that was already shown is not expanded again."""
        return "\n".join(map(one_line, [self._line(self.root), *self._branches()]))

    def mermaid(self) -> str:
        """The graph for Mermaid, which GitHub and GitLab render; arrows go from input to output."""
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
        """Group artifacts into boxes: the shards of a merge share one, every other artifact has its own."""
        boxes: dict[str, list[str]] = {}
        for made in members:
            for role, source in (self.manifests[made].sources if made in self.manifests else {}).items():
                kind = source.partition("/")[0]
                boxes.setdefault(f"{kind} of {made}" if _is_numbered(role) else source, []).append(source)
        return {name: list(dict.fromkeys(inside)) for name, inside in boxes.items()}

    def _caption(self, members: list[str]) -> tuple[str, str]:
        """The text of a box: the kind, which one or how many, and the creation date."""
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

    def _branches(self) -> Iterator[str]:
        """The lines below the root; iterative, because an index can have thousands of versions."""
        seen = {self.root}
        waiting = [("", branch) for branch in reversed(self._below(self.root))]
        while waiting:
            indent, (name, prefix, last) = waiting.pop()
            corner, below = ("└── ", "    ") if last else ("├── ", "│   ")
            if name in seen and name in self.manifests:
                yield f"{indent}{corner}{prefix}{name} (see above)"
            elif name is not None:
                yield f"{indent}{corner}{prefix}{self._line(name)}"
                seen.add(name)
                waiting += [(indent + below, branch) for branch in reversed(self._below(name))]
            else:
                yield f"{indent}{corner}{prefix}"

    def _below(self, name: str) -> list[tuple[str | None, str, bool]]:
        """For each line below an artifact: the input, the text before it, and whether the line is the last.

        The input is None for a line that only counts inputs.
        """
        inputs, left_out = self._inputs(name)
        lines: list[tuple[str | None, str]] = [(source, f"{role}: ") for role, source in inputs]
        lines += [(None, f"{count} more of kind {kind}") for kind, count in left_out.items()]
        return [(*line, place == len(lines)) for place, line in enumerate(lines, 1)]

    def _inputs(self, name: str) -> tuple[list[tuple[str, str]], Counter[str]]:
        """The (role, key) of the inputs to show, and the number of omitted inputs by kind."""
        manifest = self.manifests.get(name)
        shown: list[tuple[str, str]] = []
        kinds, left_out = Counter[str](), Counter[str]()
        for role, source in (manifest.sources if manifest else {}).items():
            # Only numbered inputs (shard0000, shard0001, ...) are similar enough to omit some.
            kind = source.partition("/")[0] if _is_numbered(role) else source
            kinds[kind] += 1
            if kinds[kind] <= _SHOWN:
                shown.append((role, source))
            else:
                left_out[kind] += 1
        return shown, left_out

    def _edges(self) -> list[tuple[str, str, str]]:
        """(input, its role, output), without the shards that the tree omits."""
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


def _check_order(manifests: Mapping[str, Manifest]) -> None:
    """Raises `ArtifactCorrupt` where artifacts were made from each other, or one from itself."""
    try:
        TopologicalSorter({name: one.inputs.values() for name, one in manifests.items()}).prepare()
    except CycleError as error:
        names = error.args[1]
        way = " -> ".join(names) if len(names) < _LISTED else f"through {len(names) - 2} others"
        raise ArtifactCorrupt(
            f"the manifest of {names[0]} or of another artifact is damaged, as {names[0]} would be made from itself "
            f"({way}): delete the damaged one and run its stage again"
        ) from None


def _is_numbered(role: str) -> bool:
    """Whether an input is one of a numbered series, such as shard0003."""
    return role[-1:].isdigit()


def _manifest_or_none(store: Store, name: str) -> Manifest | None:
    """None for raw data, which is not an artifact, and for deleted artifacts."""
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
