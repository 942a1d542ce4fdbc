"""The bundle: OCI image layout, evidence, SBOM, model card."""
