"""The inventory: YAML to `Cluster` values, edits that keep its comments, its JSON Schema and examples.

Nothing is imported here, so that a command that reads no inventory does not pay for pydantic and YAML.
"""
