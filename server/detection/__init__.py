"""Fitting detectors on clean texts and scoring them: what all detectors share."""
