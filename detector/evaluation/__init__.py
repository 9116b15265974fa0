"""Scores of detections."""
