"""For all tests: hypothesis sets no time limit on an example, since machines differ and may be busy, and tries the same
examples each time. New ones: pytest --hypothesis-profile=new_examples.
"""

from hypothesis import settings

settings.register_profile("new_examples", deadline=None)
settings.register_profile("any_machine", deadline=None, derandomize=True)
settings.load_profile("any_machine")
