"""Files that desktops and file systems create in folders by themselves, and that are not part of an artifact."""

import re

_NAMES = re.compile(
    # macOS
    r"\._.*|\.DS_Store|\.AppleDouble|\.localized|\.apdisk|\.Trashes|\.fseventsd|\.Spotlight-V100|\.TemporaryItems|__MACOSX"
    # Windows
    r"|Thumbs\.db(:encryptable)?|ehthumbs\.db|desktop\.ini"
    # Linux desktops, NAS
    r"|\.directory|\.Trash-\d+|lost\+found|@eaDir"
    # files deleted while open: NFS, SMB, FUSE, overlay file systems
    r"|\.nfs[0-9a-f]+|\.smbdelete.*|\.fuse_hidden.*|\.wh\..*",
    re.IGNORECASE,
)


def is_foreign(name: str) -> bool:
    """Whether a folder's entry is such a file, by its name."""
    return _NAMES.fullmatch(name) is not None
