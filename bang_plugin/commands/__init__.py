"""``python -m bang_plugin COMMAND``, or ``bang COMMAND`` where the package is installed: one file per command.

Each has a docstring that says what it does, ``add_arguments(parser)`` and ``run(args)``.
"""
