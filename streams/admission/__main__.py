"""``python -m streams.admission``."""

from streams.admission.app import main

main()
