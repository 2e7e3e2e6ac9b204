"""Projects, the audit trail, approvals, lineage."""
