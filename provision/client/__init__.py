"""This machine's own tools taught about a cluster: OpenSSH's config and Docker's contexts."""
