"""Frames of videos, cameras and streams: sources, pipeline, results."""
