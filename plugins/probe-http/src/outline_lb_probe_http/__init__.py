"""The probe ``http``: a request through the upstream."""
