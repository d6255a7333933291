"""Set a checkout up: ``python3 -m infra.setup``, run by make.

    setup             make what is missing or out of date (the default)
    lock              resolve every lock file anew
    cargo ARGUMENTS   run cargo as set-up does, its registry cache in the checkout

Parses on any Python 3, so that one that is too old can be told.
"""

import os
import sys

OLDEST_PYTHON = (3, 11)


def main(arguments):  # type: ignore[no-untyped-def]  # annotations here must parse everywhere
    """Run one verb; returns the exit status."""
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(
            "set-up needs Python %d.%d or newer, this is %s: install one "
            "(apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3\n"
            % (OLDEST_PYTHON + (sys.version.split()[0],))
        )
        return 1
    from infra.setup import verbs

    verb = arguments[0] if arguments else "setup"
    if verb == "setup":
        return verbs.set_up(dict(os.environ))
    if verb == "lock":
        return verbs.lock(dict(os.environ))
    if verb == "cargo":
        return verbs.cargo(arguments[1:], dict(os.environ))
    sys.stderr.write("unknown verb %r\n%s" % (verb, __doc__))
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # type: ignore[no-untyped-call]  # as above
