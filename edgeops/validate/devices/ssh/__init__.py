"""Devices over ssh, by asyncssh or the ssh program."""
