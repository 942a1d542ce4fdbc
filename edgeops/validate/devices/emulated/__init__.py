"""The emulated arm64 machine: a Debian userland, entered without root, run by qemu."""
