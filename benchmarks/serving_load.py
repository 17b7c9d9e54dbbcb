"""The visitors of `benchmarks.serving`, as Locust runs them: one question after another, without a pause.

``MMER_LOAD`` names a JSON file with a list of addresses to ask, each below the service's.
"""

import json
import os
import random
from pathlib import Path

from locust import FastHttpUser, task


class Visitor(FastHttpUser):
    """Asks at random, and takes nothing for an answer but a search result."""

    addresses = json.loads(Path(os.environ["MMER_LOAD"]).read_text())

    @task
    def ask(self) -> None:
        with self.client.get(random.choice(self.addresses), name="search", catch_response=True) as answer:
            if answer.status_code != 200 or not answer.json()["results"][0]["hits"]:
                answer.failure(f"status {answer.status_code}")
