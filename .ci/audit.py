"""Known vulnerabilities of what is installed, as OSV.dev knows them: `make audit`.

Fails when there are any. Where the service cannot be reached it says so and succeeds, unless --strict is given: a CI
without a network is no less safe than before. All other arguments go to pip-audit.
"""

import argparse
import json
import subprocess
import sys
import threading
import urllib.request
from typing import Any

OSV = "https://api.osv.dev/v1/query"
_PROBE = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "24.0"}
_SECONDS_TO_ANSWER = 5
_SECONDS_IN_ALL = 600


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--osv-url", default=OSV, help="where to ask; a mirror's address, for example")
    parser.add_argument("--strict", action="store_true", help="fail when the service cannot be reached")
    ours, others = parser.parse_known_args()
    if trouble := _unreachable(ours.osv_url):
        return _not_audited(ours.osv_url, trouble, ours.strict)
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--osv-url", ours.osv_url]
    command += ["--format", "json", "--progress-spinner", "off", "--skip-editable", *others]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_IN_ALL)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _not_audited(ours.osv_url, f"it took more than {_SECONDS_IN_ALL} s", ours.strict)
    except (ValueError, KeyError):
        return _not_audited(ours.osv_url, _last_line(done.stderr), ours.strict)
    return _told(packages)


def _told(packages: list[dict[str, Any]]) -> int:
    found = [(package, one) for package in packages for one in package.get("vulns", ())]
    for package, one in found:
        mended = ", ".join(one["fix_versions"]) or "no release yet"
        names = ", ".join([one["id"], *one.get("aliases", ())])
        print(f"audit: {package['name']} {package['version']}: {names}; mended in {mended}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        print(f"audit: not asked about {', '.join(skipped)}")
    print(f"audit: {len(packages) - len(skipped)} packages, {len(found)} known vulnerabilities")
    return 1 if found else 0


def _unreachable(url: str) -> str | None:
    """Why the service does not answer; None when it does. A thread, as looking a name up cannot be interrupted."""
    trouble: list[str | None] = [f"no answer in {_SECONDS_TO_ANSWER} s"]

    def ask() -> None:
        request = urllib.request.Request(
            url, json.dumps(_PROBE).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER) as answer:
                json.load(answer)
            trouble[0] = None
        except (OSError, ValueError) as error:
            trouble[0] = str(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ANSWER)
    return trouble[0]


def _not_audited(url: str, why: str, strict: bool) -> int:
    print(f"audit: NOT AUDITED, as {url} cannot be asked: {why}", file=sys.stderr)
    return 2 if strict else 0


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pip-audit said nothing"])[-1]


if __name__ == "__main__":
    raise SystemExit(main())
