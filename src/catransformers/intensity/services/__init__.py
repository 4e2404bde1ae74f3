"""Clients of services that forecast grid carbon intensity, one file each."""
