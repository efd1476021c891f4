"""The main job end to end on real input: `make run`, `analyticbot demo`."""
