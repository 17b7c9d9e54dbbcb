"""What `mmer deploy` sets up against a Prefect server, as YAML: deployments, work pools, automations."""
