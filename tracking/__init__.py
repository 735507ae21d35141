"""Everything that writes results: the run's directory first, then MLflow."""
