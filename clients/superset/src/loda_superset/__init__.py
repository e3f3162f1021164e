"""Use the London data federation from Apache Superset, or from SQLAlchemy alone."""
