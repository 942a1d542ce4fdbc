"""What devices that are elsewhere share: a shell, files by digest, work folders, the probe on a leash."""
