"""Measures provision against what people use today, on real hosts here. `make bench`; `python -m bench -h`."""
