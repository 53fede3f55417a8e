//! The services an operator calls: Control, Watch, Resource and Health.
