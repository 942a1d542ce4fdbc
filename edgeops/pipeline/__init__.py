"""edgeops.yaml to plan to dvc.yaml to run."""
