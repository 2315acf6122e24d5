"""For all tests: hypothesis sets no time limit on an example, since machines differ and may be busy, and tries the same
examples each time. New ones: pytest --hypothesis-profile=new_examples.
"""

import signal

from hypothesis import settings

settings.register_profile("new_examples", deadline=None)
settings.register_profile("any_machine", deadline=None, derandomize=True)
settings.load_profile("any_machine")

# Under nohup it is ignored, and all that tests start would ignore it too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
