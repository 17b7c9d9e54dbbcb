"""The host names that requests may use.

Another site can resolve its own name to this machine (DNS rebinding); a browser then treats the service as part of that
site, and lets its pages read the responses. Such a request still carries the site's name as its host. No site can use a
numeric address as its name, so addresses are safe wherever they are reachable.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

ANY = "*"

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/?#\s]+)(?::(\d{0,5}))?", re.ASCII)
_LOCAL = "localhost"


def name_of(authority: str) -> str | None:
    """The name or address in a ``Host`` header, without port and brackets; None if malformed."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found[2] or 0) > 65_535:
        return None
    name = found[1].lower()
    return name[1:-1] if name.startswith("[") else name.removesuffix(".") or None


class Hosts:
    """The names of a service.

    Args:
        listening: The address that it listens on.
        names: Additional allowed names; ``*`` for any.
    """

    def __init__(self, listening: str, names: Iterable[str] = ()) -> None:
        self._names = {name.lower().strip("[]").removesuffix(".") for name in names}
        self._local = _is_loopback(_address(listening))
        self._names.add(_LOCAL)
        if not self._local:
            self._names.add(socket.gethostname().lower())

    def __contains__(self, name: object) -> bool:
        """Whether a request may use this name: a listed name, or an address, which must be a loopback address if the
        service listens only on loopback."""
        if not isinstance(name, str):
            return False
        if name in self._names or ANY in self._names:
            return True
        address = _address(name)
        return address is not None and (not self._local or _is_loopback(address))


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_loopback(address: IPv4Address | IPv6Address | None) -> bool:
    return address is not None and address.is_loopback
