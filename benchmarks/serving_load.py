"""The users of `benchmarks.serving`, as run by Locust: one query after another, without a pause.

``MMER_LOAD`` names a JSON file with a list of request paths.
"""

import json
import os
import random
from pathlib import Path

from locust import FastHttpUser, task


class Visitor(FastHttpUser):
    """Sends random queries; any response other than a search result counts as a failure."""

    addresses = json.loads(Path(os.environ["MMER_LOAD"]).read_text())

    @task
    def ask(self) -> None:
        with self.client.get(random.choice(self.addresses), name="search", catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["results"][0]["hits"]:
                answer.failure(f"status {answer.status_code}")
