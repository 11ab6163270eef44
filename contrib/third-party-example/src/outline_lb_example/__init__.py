"""An example of plugins for outline-lb: the policy ``cheapest`` and the observer ``meter``."""
