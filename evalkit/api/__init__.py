"""The Python interface: evaluate a labelled image set, open a run, explain and save single images."""
