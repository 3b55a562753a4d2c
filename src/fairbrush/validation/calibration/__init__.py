"""Calibrations fitted: from stored regenerations to what a look-up applies."""
