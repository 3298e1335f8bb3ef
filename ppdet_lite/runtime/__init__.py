"""Runs exported models; imports no training code."""
