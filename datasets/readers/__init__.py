"""Readers of labelled image sets, one data format a module."""
