"""The HTML report: page, gallery, plots, key findings, export."""
