"""What the report's page shows, read from artefacts as plain values."""

from adaptershare_cli.studies.reported.measures import drawn_pictures, judged_measures, measure_facts
from adaptershare_cli.studies.reported.runs import run_facts

__all__ = ["drawn_pictures", "judged_measures", "measure_facts", "run_facts"]
