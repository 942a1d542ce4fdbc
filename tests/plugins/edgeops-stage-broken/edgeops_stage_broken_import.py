"""A plugin whose own dependency is not installed."""

raise ModuleNotFoundError("No module named 'a_package_nobody_has'")
