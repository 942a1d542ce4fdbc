"""Devices over adb, by its real client."""
