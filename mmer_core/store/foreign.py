"""What desktops and file systems put into folders by themselves: no part of an artifact, and nobody's work."""

import re

_NAMES = re.compile(
    # macOS
    r"\._.*|\.DS_Store|\.AppleDouble|\.localized|\.apdisk|\.Trashes|\.fseventsd|\.Spotlight-V100|\.TemporaryItems|__MACOSX"
    # Windows
    r"|Thumbs\.db(:encryptable)?|ehthumbs\.db|desktop\.ini"
    # Linux desktops, NAS
    r"|\.directory|\.Trash-\d+|lost\+found|@eaDir"
    # files that were removed while they were open: NFS, SMB, FUSE, overlay file systems
    r"|\.nfs[0-9a-f]+|\.smbdelete.*|\.fuse_hidden.*|\.wh\..*",
    re.IGNORECASE,
)


def is_foreign(name: str) -> bool:
    """Whether an entry of a folder is such a thing, by its name."""
    return _NAMES.fullmatch(name) is not None
