"""The probe ``dns``: a query for a name through the upstream, by UDP."""
