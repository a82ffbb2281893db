//! weir.hcl to a checked plan.
