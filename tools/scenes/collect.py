"""400 MB of objects that nobody changes, and a garbage collector that looks at all of them now and then."""

import gc
import time

gc.disable()
rows = [[index, [index]] for index in range(2_200_000)]
while True:
    time.sleep(6)
    gc.collect()
