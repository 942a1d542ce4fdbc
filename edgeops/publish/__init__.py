"""The signed repository of releases and channels."""
