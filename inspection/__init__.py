"""Commands on data sets, `python -m datasets COMMAND`: one file per command."""
