"""Runs for the database of an old Prefect server, see README.md: with deployments of mmer's on it, and ``PREFECT_API_URL`` set.

Needs Prefect alone, of the version of the server.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.states import Completed, Failed, Running, Scheduled

RUNS = {
    "an old training": ("train/train", Completed()),
    "an old ingestion": ("ingest/ingest", Failed(message="the folder /data/emotic does not exist")),
    "still to come": ("pipeline/pipeline", Scheduled()),
}


def main() -> None:
    with get_client(sync_client=True) as client:
        for name, (deployment, state) in RUNS.items():
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(found.id, name=name)
            if state.is_final():
                for one in (Running(), state):
                    client.set_flow_run_state(run.id, one, force=True)
                note = ArtifactCreate(
                    key="model-summary", type="markdown", data="`model/0123`", flow_run_id=run.id
                )
                client.create_artifact(note)


if __name__ == "__main__":
    main()
