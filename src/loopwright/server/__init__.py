"""The control plane's edge: HTTP over the verbs, authentication, background loops, UI pages."""
