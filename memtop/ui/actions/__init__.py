"""What the keys do, by subject: each module is a part of the live screen (``screens/live.py``)."""
