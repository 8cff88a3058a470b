"""What was written since when: the Tracker protocol, its three trackers and the choice between them."""
